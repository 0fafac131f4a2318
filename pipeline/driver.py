"""The driver: one run from its configuration to its report, however often it is interrupted."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from distributed import Client
from rich.console import Console

from cluster.open import check_cluster, open_cluster
from models.architecture import architecture_hash
from models.random_policy import sample_uniformly
from models.space import SearchSpace, load_function
from pipeline.configuration import Configuration
from pipeline.datasets import prepare_data
from pipeline.errors import UserError
from pipeline.progress import Progress, log, log_to
from pipeline.report import write_report
from pipeline.run_folder import create_run, driver_lock, open_run
from pipeline.run_paths import RunPaths
from pipeline.summary import summary_text
from pipeline.tables import Tables, read_table
from pipeline.waves import Search, is_finished, load_history, rewards_so_far, run_search


def check_configuration(configuration: Configuration) -> None:
    """Raise UserError for what can be seen to be wrong before anything starts."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # users' own modules, for the workers too
    try:
        check_cluster(configuration.cluster)
        SearchSpace(configuration.space.function, configuration.space.options).check_options()
        load_function(configuration.child.task)
    except ValueError as error:
        raise UserError(str(error)) from error
    _try_space(configuration)
    if configuration.search.control == configuration.search.policy:
        raise UserError(f"search.control = {configuration.search.control!r} is the policy itself")
    if configuration.data.crop > configuration.data.upsample:
        raise UserError(
            f"data.crop = {configuration.data.crop}: allowed is at most data.upsample = {configuration.data.upsample}"
        )


def _try_space(configuration: Configuration) -> None:
    """Draw one architecture: a space that cannot be walked is the user's to mend, before workers are started for it."""
    space = SearchSpace(configuration.space.function, configuration.space.options)
    try:
        path = space.paths(configuration.search.depth, 1)[0]
        sample_uniformly([path], seed=0)
        architecture_hash(path.architecture)
    except Exception as error:
        raise UserError(f"space {configuration.space.function}: {type(error).__name__}: {error}") from error


def start_run(folder: Path, configuration: Configuration, console: Console) -> None:
    """Check, prepare the data, make the run folder and run. Raises UserError before anything is left behind."""
    check_configuration(configuration)
    if RunPaths(folder).config.exists():
        create_run(folder, configuration)  # says why not
    data_path = prepare_data(configuration.data, RunPaths(folder).prepared_data)
    _drive(create_run(folder, configuration), configuration, data_path, console)


def resume_run(folder: Path, console: Console) -> None:
    """Go on with a run from where it was interrupted, or make the report of a finished one again."""
    paths, configuration = open_run(folder)
    check_configuration(configuration)
    _drive(paths, configuration, prepare_data(configuration.data, paths.prepared_data), console)


def _drive(paths: RunPaths, configuration: Configuration, data_path: Path, console: Console) -> None:
    with driver_lock(paths), log_to(paths), _terminated_as_interrupted():
        try:
            _search_all(paths, configuration, data_path, console)
        except KeyboardInterrupt:
            log.warning("interrupted")
            raise
        except Exception:
            log.exception("the driver failed; what ended is kept, and the run can be resumed")
            raise
        write_report(paths, configuration)
        log.info("finished")
    console.print(f"\n{summary_text(paths, configuration)}\n", highlight=False, soft_wrap=True, markup=False)


def _search_all(paths: RunPaths, configuration: Configuration, data_path: Path, console: Console) -> None:
    """The search, and then its control: the same number of children from another policy."""
    log.info("experiment %s in %s", configuration.experiment, paths.folder)
    searches = [search for search in _searches(paths, configuration) if not is_finished(search[1], search[2])]
    if not searches:
        return
    with open_cluster(configuration.cluster, configuration.child.threads) as client:
        workers = len(client.scheduler_info()["workers"])
        console.print(f"{workers} workers; dashboard at {client.dashboard_link}", highlight=False, soft_wrap=True)
        for name, run_paths, run_configuration in searches:
            _search(client, name, run_paths, run_configuration, data_path, console)


def _search(
    client: Client, name: str, paths: RunPaths, configuration: Configuration, data_path: Path, console: Console
) -> None:
    tables = Tables(paths)
    tables.publish()  # what a kill left in the journal alone
    done = read_table(paths, "results", ["trial_id"]).num_rows
    progress = Progress(console, name, configuration.search.samples, rewards_so_far(paths), done)
    history = load_history(paths, configuration)
    try:
        with progress.watching():
            run_search(Search(client, paths, tables, configuration, data_path, progress, history))
    finally:
        tables.close()


def _searches(paths: RunPaths, configuration: Configuration) -> Iterator[tuple[str, RunPaths, Configuration]]:
    yield configuration.search.policy, paths, configuration
    if configuration.search.control is None:
        return
    search = replace(configuration.search, policy=configuration.search.control, control=None)
    control = replace(configuration, search=search)
    if not paths.control.config.exists():
        create_run(paths.control.folder, control)
    yield f"{search.policy} search", paths.control, control


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, as batch systems send it, ends a run in the same orderly way as Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
