"""How a real browser shows reports: `make test-browser`, which installs Chromium where it can."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from made_up import add_comparison, add_stage, made_up_run, stage_row
from matplotlib.image import imread

from pipeline.configuration import override
from pipeline.experiments import cifar10_pooling, digits, ptb_small
from pipeline.report import remake_report
from pipeline.run_paths import RunPaths

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]  # it may be installed first
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
    "--v=0", "--allow-file-access-from-files",
]  # fmt: skip
WIDTHS = (1280, 400)
SMALLEST = 8.0  # pixels of a letter's height
SCHEMES = {"dark": 0, "light": 1}  # Blink's numbers
LOOK = """
onload = () => { document.title = JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {
  const page = frame.contentDocument, size = (text) => {
    const to = text.getScreenCTM();
    return Math.hypot(to.a, to.b) * parseFloat(frame.contentWindow.getComputedStyle(text).fontSize);
  };
  const texts = [...page.querySelectorAll("svg text")].filter(text => text.textContent.trim());
  return {
    width: page.documentElement.scrollWidth,
    dark: frame.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches,
    paper: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
    figures: page.querySelectorAll("svg").length,
    unnamed: page.querySelectorAll("svg:not([aria-label])").length,
    smallest: Math.min(...texts.map(size)),
  };
})) }
"""


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser, from Debian's packages where it is missing and may be installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            command = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", *arguments]
            ended = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert ended.returncode == 0, f"apt-get {arguments[0]} failed:\n{ended.stdout}{ended.stderr}"
        found = shutil.which("chromium")
    if found is None:
        pytest.skip("no Chromium here; it is installed where apt-get is and the user is root")
    return found


def digits_with_control(folder: Path) -> RunPaths:
    return made_up_run(folder, digits(), 96, control=96)


def cells(folder: Path) -> RunPaths:
    return made_up_run(folder, override(ptb_small(), ["search.control=none"]), 24, depth=1)


def failures_and_stages(folder: Path) -> RunPaths:
    """A large network of the third search, failures, Figure 6, and rows in Table 1."""
    configuration = override(cifar10_pooling(), ["search.control=none"])
    paths = made_up_run(folder, configuration, 40, failing=5, depth=13)
    add_comparison(paths)
    fixed = {"settings": "{}", "more_filters": 0, "trial_id": 0, "tested": 0, "test_loss": 0.2, "test_metric": 0.95}
    add_stage(paths, "final", [stage_row("final", 0, configuration, step="test", **fixed)])
    fixed = {"architecture": "{}", "architecture_hash": "x", "position": None, "decision": None, "before": None}
    variants = [
        stage_row("ablations", n, configuration, variant=kind, repetition=0, after=None, **fixed)
        for n, kind in enumerate(("found", "dense", "no_skips"))
    ]
    add_stage(paths, "ablations", variants)
    return paths


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("make", [digits_with_control, cells, failures_and_stages], ids=lambda make: make.__name__)
def test_a_report_is_readable_on_wide_and_narrow_screens(make, scheme: str, chromium: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    paths = make(tmp_path / "run")
    remake_report(paths)
    page = (paths.report / "report.html").read_text()
    inside = page.replace("&", "&amp;").replace('"', "&quot;")
    frames = "".join(
        f'<iframe width="{width}" height="5900" style="border:0;color-scheme:{scheme}" srcdoc="{inside}"></iframe>'
        for width in WIDTHS
    )
    (tmp_path / "frames.html").write_text(
        f'<html style="color-scheme:{scheme}"><body style="margin:0">{frames}<script>{LOOK}</script></body></html>'
    )
    shot = Path(os.environ.get("WAVENAS_SHOTS", tmp_path)) / f"{make.__name__}-{scheme}.png"
    dark = f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"
    address = f"file://{tmp_path}/frames.html"
    dumped = browse(chromium, tmp_path, dark, "--dump-dom", address)
    shown = browse(chromium, tmp_path, dark, f"--screenshot={shot}", "--window-size=1690,5900", address)
    for ended in (dumped, shown):
        assert "CONSOLE" not in ended.stderr, ended.stderr
    title = re.search(r"<title>(.*?)</title>", dumped.stdout)
    assert title is not None, dumped.stderr
    looked = json.loads(title[1].replace("&quot;", '"'))
    assert [frame["width"] for frame in looked] == list(WIDTHS), "the page is wider than its window"
    for frame in looked:
        assert frame["dark"] == (scheme == "dark") and (frame["paper"] == "rgb(255, 255, 255)") == (scheme == "light")
        assert frame["figures"] >= 5 and frame["unnamed"] == 0
        assert frame["smallest"] >= SMALLEST, frame
    pixels = imread(shot)[:, : WIDTHS[0], :3]
    bright = (pixels.min(axis=2) > 0.97).mean()
    assert (bright > 0.5) if scheme == "light" else (bright < 0.03), "no white boxes on dark paper"


def browse(chromium: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    profile = folder / f"profile-{len(list(folder.iterdir()))}"
    command = [chromium, *OPTIONS, f"--user-data-dir={profile}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
