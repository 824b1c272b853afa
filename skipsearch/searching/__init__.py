"""Search: an Optuna study that proposes and records, and a Ray Tune driver that trains.

The path of a training:

    study           proposes a design (``samplers``, ``asking``), which ``queueing`` may hold
    searcher        hands it to Ray Tune as a ``messages.Request``; ``driver`` runs the session
    worker, job     train it epoch by epoch, and answer with a ``messages.Report``; a failure is
                    recorded in its ``Member`` and does not raise an exception in Ray
    searcher        stops it early (``stopping``), or closes it with its state and reason
    recording       writes epochs, state and reason into the study, in the form of ``attributes``
    records         reads them back, as ``record.Trial``
"""
