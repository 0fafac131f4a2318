"""The driver: one run from its configuration to its report, however often it is interrupted."""

from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from cluster.cluster import Cluster
from cluster.open import open_cluster
from pipeline.checks import check_configuration
from pipeline.children import Children
from pipeline.clock import Clock
from pipeline.configuration import Configuration
from pipeline.console import say
from pipeline.datasets import prepare_data
from pipeline.errors import UserError
from pipeline.failures import FailureWatch, SearchStopped
from pipeline.files import remove_leftovers, writing
from pipeline.history import History
from pipeline.interruption import in_good_order
from pipeline.progress import Progress, SoFar, log, log_to
from pipeline.provenance import check_changes
from pipeline.replicas import run_replicas
from pipeline.run_folder import create_run, driver_lock
from pipeline.run_paths import RunPaths
from pipeline.run_state import search_children, search_progress
from pipeline.search import Search, all_taken_in, is_finished, rewards_so_far, run_key
from pipeline.submit import Tasks
from pipeline.summary import size_text, summary_text
from pipeline.tables import Tables, read_table
from pipeline.time_left import FEW, Child
from pipeline.trust import refuse_foreign_code
from pipeline.verification import refuse_damage
from pipeline.waves import run_waves


def start_run(folder: Path, configuration: Configuration, console: Console) -> None:
    """Check, prepare the data, make the run folder and run. Raises UserError before anything is left behind."""
    check_configuration(configuration)
    if RunPaths(folder).config.exists():
        create_run(folder, configuration)  # says why not
    data_path = prepare_data(configuration.data, RunPaths(folder).prepared_data)
    paths = create_run(folder, configuration, data_path)
    _drive(paths, configuration, data_path, console)


def resume_run(folder: Path, configuration: Configuration, console: Console, accept_changes: bool = False) -> None:
    """Go on with a run from where it was interrupted, or make the report of a finished one again.

    `configuration` is the run's own, but for its cluster, which no result depends on.
    """
    paths = RunPaths(folder)
    refuse_foreign_code(paths, configuration)
    check_configuration(configuration)
    data_path = prepare_data(configuration.data, paths.prepared_data)
    _drive(paths, configuration, data_path, console, accept_changes)


def _drive(
    paths: RunPaths, configuration: Configuration, data_path: Path, console: Console, accept_changes: bool = False
) -> None:
    with driver_lock(paths), log_to(paths), in_good_order():
        for difference in check_changes(paths, accept_changes, data_path):
            log.warning("accepted: %s", difference)
        try:
            _search_all(paths, configuration, data_path, console)
            _report(paths, configuration)
        except KeyboardInterrupt:
            log.warning("interrupted")
            raise
        except UserError as error:
            log.error("%s", error)
            raise
        except Exception as error:
            log.exception("the driver failed; what ended is kept, and the run can be resumed")
            if isinstance(error, SearchStopped):
                _report(paths, configuration)
                say(console, f"What failed, and what it cost: {paths.report}/report.html")
            raise
        log.info("finished")
    say(console, f"\n{summary_text(paths, configuration)}\n")
    if not rewards_so_far(paths):
        raise RuntimeError("not one child ended well enough to be rewarded")


def _report(paths: RunPaths, configuration: Configuration) -> None:
    from pipeline.report import write_report  # draws, which takes a while to load

    with writing(paths.report):
        write_report(paths, configuration)


def _search_all(paths: RunPaths, configuration: Configuration, data_path: Path, console: Console) -> None:
    """The search, and then its control: the same number of children from another policy."""
    log.info("experiment %s in %s", configuration.experiment, paths.folder)
    for _, run_paths, run_configuration in _searches(paths, configuration):
        if all_taken_in(run_paths, run_configuration) and not is_finished(run_paths, run_configuration):
            with closing(Tables(run_paths)) as tables:
                tables.commit()
    searches = [search for search in _searches(paths, configuration) if not is_finished(search[1], search[2])]
    if not searches:
        return
    for _, run_paths, _ in searches:
        refuse_damage(run_paths)
    with open_cluster(configuration.cluster, configuration.child.threads, paths.workers) as cluster:
        opened = f"{cluster.description}; dashboard at {cluster.client.dashboard_link}"
        log.info(opened)
        say(console, opened)
        if (size := size_text(configuration)) is not None:
            say(console, size)
        for name, run_paths, run_configuration in searches:
            # a control draws as a policy did that had learned nothing
            like = [] if run_paths == paths else search_children(paths, configuration)[:FEW]
            # the lock of a run is held by now; its control is a run folder of its own
            with nullcontext() if run_paths == paths else driver_lock(run_paths):
                _search(cluster, name, run_paths, run_configuration, data_path, console, like)


def _search(
    cluster: Cluster,
    name: str,
    paths: RunPaths,
    configuration: Configuration,
    data_path: Path,
    console: Console,
    like: list[Child],
) -> None:
    with closing(Tables(paths)) as tables:
        tables.publish()  # what a kill left in the journal alone
        ended = read_table(paths, "results", ["trial_id"])["trial_id"].to_pylist()
        before = search_progress(paths, configuration)
        clock = Clock(configuration, ended, [*like, *search_children(paths, configuration)])
        dashboard = cluster.client.dashboard_link
        so_far = SoFar(before.statuses, before.rewards, before.updates[-1] if before.updates else None)
        progress = Progress(console, name, configuration.search.samples, so_far, clock, dashboard)
        with progress.watching():
            tasks = Tasks(cluster.client, cluster.check)
            children = Children(tasks, run_key(paths), configuration.child, configuration.retries)
            share = configuration.search.max_failed_share
            failures = FailureWatch(share, configuration.wave_size, cluster.num_workers)
            search = Search(tasks, paths, tables, configuration, data_path, progress, History(), children, failures)
            (run_waves if configuration.search.mode == "waves" else run_replicas)(search)
        remove_leftovers(paths.children)


def _searches(paths: RunPaths, configuration: Configuration) -> Iterator[tuple[str, RunPaths, Configuration]]:
    yield configuration.search.policy, paths, configuration
    if configuration.search.control is None:
        return
    search = replace(configuration.search, policy=configuration.search.control, control=None)
    control = replace(configuration, search=search)
    if not paths.control.config.exists():
        create_run(paths.control.folder, control)
    yield f"{search.policy} search", paths.control, control
