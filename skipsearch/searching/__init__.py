"""Search: an Optuna study that proposes and records, and a Ray Tune driver that trains.

The way of a training, there and back:

    study           proposes a design (``samplers``, ``asking``), which ``queueing`` may hold
    searcher        hands it to Ray Tune as a ``messages.Request``; ``driver`` runs the session
    worker, job     train it epoch by epoch, and answer with a ``messages.Report``; a failure is
                    the reason of its ``Member``, and no exception of Ray's
    searcher        stops it early (``stopping``), or closes it with its state and reason
    recording       writes epochs, state and reason into the study, in the form of ``attributes``
    records         reads them again, as ``record.Trial``
"""
