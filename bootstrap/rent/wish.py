"""What a person wants to rent, as it is kept with a rental: enough to rent the same again."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from bootstrap.choose import parcel
from bootstrap.choose.manifest import Manifest, Profile
from bootstrap.errors import KitError
from bootstrap.platforms.market import Filters, Offer
from bootstrap.platforms.offer import MIN_DOWN_MBPS, MIN_RELIABILITY
from bootstrap.platforms.order import Order, profile_to_rent

HOURS = 8.0
IDLE_MINUTES = 30.0
READY_MINUTES = 40.0


class Wish(BaseModel):
    """Secrets are no part of it."""

    model_config = ConfigDict(frozen=True)
    platform: str
    model: str
    profile: str | None = None
    max_price: float = 3.0  # dollars an hour
    clips: int = 20
    service: str = "ui"
    port: int = 8000
    image: str = ""
    script_url: str | None = None
    script_sha256: str | None = None
    source: str | None = None
    hours: float | None = HOURS  # after which the box is stopped; None: never
    idle_minutes: float | None = IDLE_MINUTES
    ready_minutes: float = READY_MINUTES
    leave_slow: bool = False  # end a box whose download another offer would beat
    hf_token_later: bool = False  # the account's secrets give it, or a person on the boot page
    results_url: str | None = None  # where the box copies finished clips to
    interruptible: bool = False
    regions: tuple[str, ...] = ()
    gpus: int | None = 1
    min_pcie: float | None = None  # GB/s
    min_link: float | None = MIN_DOWN_MBPS  # Mbit/s
    min_disk_rate: float | None = None  # MB/s
    min_reliability: float | None = MIN_RELIABILITY  # 0 to 1

    def filters(self, excluded_hosts: frozenset[str] = frozenset()) -> Filters:
        return Filters(
            max_dollars_per_hour=self.max_price,
            regions=self.regions,
            gpus=self.gpus,
            interruptible=self.interruptible,
            min_pcie_gb_per_second=self.min_pcie,
            min_down_mbps=self.min_link,
            min_disk_mb_per_second=self.min_disk_rate,
            min_reliability=self.min_reliability,
            excluded_hosts=excluded_hosts,
        )

    def profile_of(self, manifest: Manifest) -> Profile:
        """The one that was named, else the smallest for a GPU. KitError when there is none."""
        return profile_to_rent(manifest, self.profile)

    def order(
        self,
        manifest: Manifest,
        offer: Offer,
        token: str,
        hf_token: str | None,
        storage_keys: Mapping[str, str],
    ) -> Order:
        """The box ends itself where it can; what it costs stands on its page.

        ``storage_keys``: variables of the storage at ``results_url``; they go along with that alone.
        """
        limits = {
            "KINOKIT_IDLE_STOP_MINUTES": self.idle_minutes,
            "KINOKIT_STOP_AFTER_HOURS": self.hours,
            "KINOKIT_HOURLY_COST": round(offer.dollars_per_hour, 4),
        }
        said = {name: f"{value:g}" for name, value in limits.items() if value is not None}
        if self.results_url:
            said |= {"KINOKIT_RESULTS_URL": self.results_url, **storage_keys}
        own = parcel.pack(self.model, manifest)
        return Order(
            manifest=manifest,
            profile=self.profile_of(manifest),
            service=self.service,
            port=self.port,
            image=self.image,
            script_url=self.script_url,
            script_sha256=self.script_sha256,
            source=self.source,
            api_key=token,
            hf_token=hf_token,
            model=own.model,
            extra_env={**own.variables, **said},
        )


def check_licence(manifest: Manifest, hf_token: str | None, wish: Wish) -> None:
    """A box without the token of a gated model costs money and is never ready."""
    if manifest.licence.gated and not hf_token and not wish.hf_token_later:
        raise KitError(
            f"{manifest.name} is gated, and no token is given: a box could not fetch it",
            fix=f"accept {manifest.licence.accept_url}, then give --hf-token; or --hf-token-later,"
            " if a secret of your account or a person on the boot page gives it",
        )
