"""Launch a search from Python and print its leaders.

    python scripts/launch_search.py search_spaces/orders.yaml runs/orders --trials 30 --epochs 27

Interrupt it and run it again: it goes on where it was. On a cluster, add ``--address auto``.
"""

import argparse

import skipsearch as ss


def main() -> None:
    """Search and rank."""
    parser = argparse.ArgumentParser(description="Launch a search and print its leaders.")
    parser.add_argument("space", help="a file of search_spaces/")
    parser.add_argument("out", help="the run folder")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--gpus-per-trial", type=float)
    parser.add_argument("--address")
    options = parser.parse_args()

    run = ss.search(
        options.space,
        options.data,
        data_root=options.data_root,
        trials=options.trials,
        epochs=options.epochs,
        gpus_per_trial=options.gpus_per_trial,
        address=options.address,
        out=options.out,
    )
    print(run.rank().head(10).to_string())


if __name__ == "__main__":
    main()
