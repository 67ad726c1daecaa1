"""The boot as a list: detect, choose, plan, fetch. ``run`` is the order; it is called in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bootstrap import data_directory, detect, fetch, volume
from bootstrap.choose import catalogue, reading
from bootstrap.choose.manifest import Manifest
from bootstrap.choose.plan import Plan
from bootstrap.choose.refusal import found
from bootstrap.detect import gpu_torch, host, threads
from bootstrap.detect.machine import GIB, Machine
from bootstrap.errors import KitError
from bootstrap.fetch import Progress
from bootstrap.launch import arrivals, forecast, history, hub_token, link, location, packages, readahead
from bootstrap.launch.document import BootDocument
from bootstrap.launch.link import Link, Measured
from bootstrap.launch.timeline import PACKAGES
from bootstrap.settings import Settings
from bootstrap.torch_build.decision import Decision

ALL_PACKAGES = ("torch", "gpu", "ui")  # that a fresh box downloads


class BootFailed(KitError):
    """A step failed. ``phase`` says which; ``exit_code`` is the command's."""

    def __init__(self, phase: str, cause: KitError) -> None:
        super().__init__(cause.problem, fix=cause.fix)
        self.phase = phase
        self.exit_code = cause.exit_code


def run(
    settings: Settings,
    data_dir: Path,
    env: Mapping[str, str],
    document: BootDocument,
    decided: Callable[[Plan], None] = lambda _: None,
) -> Plan:
    """The whole boot, and its plan. ``BootFailed`` when the user can do something about it.

    ``decided`` receives the plan as soon as it is made and Python's packages are there: workers start on it,
    and load each file when ``plan.arrivals`` says that it is there.
    """
    boot = Boot(settings, data_dir, env, document, decided)
    machine = boot.detect()
    model, chosen = boot.choose(machine)
    boot.predict(model, chosen, machine)
    plan = boot.plan(model, chosen, machine)
    readahead.begin((boot.home(model) / file.kept_at for file in model.files), machine.ram_available_bytes)
    boot.fetch(model, plan, machine)
    return plan


@dataclass(frozen=True)
class Boot:
    """The steps, and what all of them need."""

    settings: Settings
    data_dir: Path
    env: Mapping[str, str]
    document: BootDocument
    decided: Callable[[Plan], None]

    def detect(self) -> Machine:
        with self._phase("detect"):
            machine = detect.read_machine(
                self.env, self.data_dir, is_rented=self._is_rented(), probe_disk=True
            )
            self.document.find(machine.findings)
            self.document.end("detect", found(machine))
        return machine

    def choose(self, machine: Machine) -> tuple[Manifest, catalogue.Entry]:
        with self._phase("choose"):
            model = reading.load(self.settings.model)
            licence = {"id": model.licence.id, "url": model.licence.url}
            self.document.set(model=model.name, title=model.title, licence=licence)
            return model, self._choose(model, machine)

    def plan(self, model: Manifest, chosen: catalogue.Entry, machine: Machine) -> Plan:
        return Plan.build(
            model,
            chosen.choice,
            files=self.home(model),
            data_dir=self.data_dir,
            threads=threads.count(machine, workers=max(1, len(chosen.choice.gpu_groups))),
            arrivals=self.data_dir.absolute() / data_directory.ARRIVALS,
        )

    def home(self, model: Manifest) -> Path:
        """The folder that holds all of the model's files."""
        return fetch.home(model, store=volume.models(self.data_dir))

    def fetch(self, model: Manifest, plan: Plan, machine: Machine) -> None:
        assert plan.arrivals is not None, "a boot tells what has arrived"
        home = self.home(model)
        with self._phase("fetch"), arrivals.Record(plan.arrivals, model.files, home) as arrived:
            note = self._fetch(model, plan, arrived, self._torch(plan, machine))
            verified = f"{model.download_bytes / GIB:.2f} GiB verified"
            self.document.end("fetch", f"{verified}; {note}" if note else verified)

    def predict(self, model: Manifest, chosen: catalogue.Entry, machine: Machine) -> None:
        """Made before the download, so that the timeline can show it against what it was."""
        profile = chosen.choice.profile
        assert profile is not None, "a boot goes on only with a profile"
        torch = gpu_torch.decide_for(machine, chosen.choice.gpu_groups)
        files = packages.missing(self.settings.service, torch, self.settings.results_url)
        predicted = forecast.predict(
            model,
            profile,
            forecast.Host.of(machine, chosen, self._before_seconds()),
            missing_bytes=0 if model.source.folder else chosen.missing_bytes,
            packages_bytes=forecast.packages_bytes(file.name for file in files),
            dollars_per_hour=self.settings.hourly_cost,
            boots=history.last(self.data_dir),
        )
        self.document.set(prediction=asdict(predicted))
        self.document.find_more(*forecast.findings(predicted))

    def _before_seconds(self) -> float | None:
        """From the container's start to the command: a rented box is paid from then on, or earlier."""
        started_at = host.container_started_at() if self._is_rented() else None
        return None if started_at is None else max(0.0, self.document.snapshot()["started_at"] - started_at)

    def _is_rented(self) -> bool:
        return location.of(self.settings, self.env).platform.IS_RENTED

    def _choose(self, model: Manifest, machine: Machine) -> catalogue.Entry:
        names = [profile.name for profile in model.profiles]
        wanted = self.settings.profile
        if wanted is not None and wanted not in names:
            raise KitError(f"{model.name} has no profile {wanted!r}", fix=f"choose one of {', '.join(names)}")
        missing = fetch.missing_in(self.data_dir)
        judged = catalogue.entry(model, machine, missing, profile=wanted)
        if judged.choice.profile is None:
            raise catalogue.refusal(judged, machine, missing)
        profile = judged.choice.profile
        more = "; ".join(why for why in (judged.choice.passed_over, judged.choice.idle_gpus) if why)
        title = f"{model.name} as {profile.name}: {profile.title}"
        self.document.end("choose", f"{title}; {more}" if more else title)
        return judged

    def _torch(self, plan: Plan, machine: Machine) -> Decision:
        """The one for the GPUs of the plan. KitError where none runs, before the first byte."""
        chosen = {uuid for group in plan.gpu_groups for uuid in group}
        decided = gpu_torch.decide(machine, [gpu for gpu in machine.gpus if gpu.uuid in chosen])
        if decided.problem is not None:
            raise KitError(decided.problem.problem, fix=decided.problem.fix)
        return decided

    def _fetch(self, model: Manifest, plan: Plan, arrived: arrivals.Record, torch: Decision) -> str | None:
        """The model's files; Python packages that a thin image lacks come at the same time.

        What the download has to say when it is done, such as that the disk was what it waited for.
        """
        last: Progress | None = None
        watch = Link(
            forecast.rates().usual,
            packages_bytes=forecast.packages_bytes(ALL_PACKAGES),
            dollars_per_hour=self.settings.hourly_cost,
        )

        def report(progress: Progress) -> None:
            nonlocal last
            last = progress
            self._report(progress)
            self._judge(watch.see(progress))

        installed = self._install(plan, torch)
        self._fetch_files(model, arrived, report)
        self._judge(None)
        installed()
        return last.note if last else None

    def _fetch_files(
        self, model: Manifest, arrived: arrivals.Record, report: Callable[[Progress], None]
    ) -> None:
        """All of them; a gate that is closed is asked about on the page, where somebody sees it."""
        given = self.settings.hf_token
        token = given.get_secret_value() if given else fetch.saved_token()
        host_tokens = self.settings.host_tokens()
        while True:
            try:
                fetch.fetch(
                    model,
                    store=volume.models(self.data_dir),
                    token=token,
                    endpoint=self.settings.hf_endpoint,
                    mirrors=self.settings.mirrors,
                    host_tokens=host_tokens,
                    verify=self.settings.verify,
                    arrived=arrived.add,
                    report=report,
                )
            except fetch.GateClosed as gate:
                if location.of(self.settings, self.env).platform.IS_SHORT_LIVED:
                    raise
                typed = hub_token.wait_for(gate, self.document, self.data_dir)
                if gate.host is None:
                    token = typed
                else:
                    host_tokens[gate.host] = typed
            else:
                return

    def _judge(self, measured: Measured | None) -> None:
        """What the link says goes into the document; on a rented box also when to leave. None: nothing."""
        self.document.set(link=measured.document() if measured else None)
        here = location.of(self.settings, self.env).platform
        said = None
        if measured and here.IS_RENTED:
            stop = here.stop(self.env).description
            said = link.finding(measured, forecast.rates().usual, stop=stop)
        if said:
            self.document.find_more(said)
        else:
            self.document.withdraw("slow_link")

    def _install(self, plan: Plan, torch: Decision) -> Callable[[], None]:
        """Begin with what is missing; workers start when it is there. What is returned waits for that."""
        files = packages.missing(self.settings.service, torch, self.settings.results_url)
        if not files:
            self.decided(plan)
            return lambda: None
        failures: list[KitError] = []

        def install() -> None:
            try:
                packages.install(files, report=lambda line: self.document.advance("fetch", detail=line))
            except KitError as error:
                failures.append(error)
            else:
                self.document.timeline.end(
                    "packages", PACKAGES, detail=", ".join(file.stem for file in files)
                )
                self.decided(plan)

        def wait() -> None:
            installer.join()
            if failures:
                raise failures[0]

        installer = threading.Thread(target=install, name="packages", daemon=True)
        self.document.timeline.begin("packages", PACKAGES, waited_for="choose")
        installer.start()
        return wait

    def _report(self, progress: Progress) -> None:
        values = asdict(progress)
        note = values.pop("note")
        self.document.timeline.files(progress.files)
        self.document.advance("fetch", **values, **({"detail": note} if note else {}))

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self.document.begin(name)
        try:
            yield
        except KitError as error:
            self.document.fail(name, error)
            raise BootFailed(name, error) from error
