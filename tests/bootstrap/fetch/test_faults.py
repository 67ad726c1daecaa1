"""What happens when servers, proxies and networks do what they do."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap import certificates
from bootstrap.choose.manifest import Source
from bootstrap.errors import KitError
from bootstrap.fetch import digest
from tests import hub
from tests.bootstrap.fetch.conftest import BIG, FILES, MIB, QUICK, Model, manifest_of, noise
from tests.hub import Hub, answers
from tests.hub import server as hub_server

TOTAL = sum(map(len, FILES.values()))


def test_one_flipped_byte_is_found_and_fetched_again(model: Model) -> None:
    model.server.fault("flip", BIG, at=18 * MIB)
    assert model.is_right(model.fetch())
    assert model.server.bytes_sent(BIG) >= 2 * len(FILES[BIG]) - MIB, "nobody knew which piece it was"


def test_with_the_hashes_of_pieces_only_the_flipped_piece_is_fetched_again(model: Model) -> None:
    if digest.library() is None:
        pytest.skip("needs OpenSSL's library for the states of SHA-256")
    model.fetch()[BIG].unlink()
    before = model.server.bytes_sent(BIG)
    model.server.fault("flip", BIG, at=18 * MIB)
    assert model.is_right(model.fetch())
    again = model.server.bytes_sent(BIG) - before - len(FILES[BIG])
    assert digest.PIECE_BYTES <= again < digest.PIECE_BYTES + 8 * MIB


def test_a_damaged_file_never_gets_its_final_name(model: Model) -> None:
    model.server.fault("flip", BIG, at=18 * MIB, times=None)
    with pytest.raises(KitError, match=r"is damaged: its digest is .* \(fetched twice\)"):
        model.fetch()
    assert not (model.home / BIG).exists()
    model.server.faults.clear()
    assert model.is_right(model.fetch()), "a later start gets it right"


def test_wrong_piece_hashes_in_the_lock_do_no_harm(model: Model) -> None:
    if digest.library() is None:
        pytest.skip("needs OpenSSL's library for the states of SHA-256")
    found = model.fetch()
    lock = model.home / "lock.json"
    text = lock.read_text()
    state = text.split('"pieces": [')[1].split('"')[1]
    lock.write_text(text.replace(state, "0" * 64))
    for path in FILES:
        found[path].unlink()
    assert model.is_right(model.fetch())


@pytest.mark.parametrize("at", [0, 1, 100_000, 5 * MIB])
def test_answers_that_are_cut_go_on_where_they_were_cut(model: Model, at: int) -> None:
    model.server.fault("cut", BIG, at=at, times=4)
    assert model.is_right(model.fetch())
    assert model.server.bytes_sent() < TOTAL + 12 * MIB


def test_a_stalled_connection_is_replaced(model: Model) -> None:
    model.server.fault("stall", BIG, at=2 * MIB, times=2)
    began = time.monotonic()
    assert model.is_right(model.fetch())
    assert time.monotonic() - began < 15


def test_a_connection_far_slower_than_the_others_is_replaced(model: Model) -> None:
    model.server.bytes_per_second = 10 * MIB
    model.server.fault("slow", BIG, rate=2000, times=1)
    began = time.monotonic()
    assert model.is_right(model.fetch())
    assert time.monotonic() - began < 15, "16 MiB at 2 kB/s would take two hours"


def test_a_server_that_gives_a_few_bytes_for_ever_is_left(model: Model) -> None:
    model.server.fault("slow", BIG, rate=50, times=None)
    began = time.monotonic()
    with pytest.raises(KitError):
        model.only(BIG).fetch(patience=replace(QUICK, to_begin=3, without_progress=3))
    assert time.monotonic() - began < 20


def test_retry_after_is_obeyed(model: Model) -> None:
    fault = model.server.fault("status", BIG, status=429, headers={"Retry-After": "2"}, times=1)
    assert model.is_right(model.fetch())
    refused = next(seen for seen in model.server.seen if seen.status == 429)
    # Requests that were under way already may still come; then nothing for two seconds.
    later = [
        seen.at - refused.at
        for seen in model.server.seen
        if seen.at > refused.at + 0.3 and seen.method == "GET"
    ]
    assert fault.happened == 1
    assert not later or min(later) >= 1.8


def test_a_server_that_is_busy_for_ever_is_given_up_on_with_its_status(model: Model) -> None:
    model.server.fault("status", BIG, status=503, times=None)
    with pytest.raises(KitError, match=r"no progress for .* answers 503"):
        model.only(BIG).fetch()


def test_a_wait_that_nobody_can_wait_for_is_told(model: Model) -> None:
    model.server.fault("status", BIG, status=429, headers={"Retry-After": "7200"}, times=None)
    with pytest.raises(KitError, match="asks to wait 7200 s"):
        model.fetch()


def test_the_hub_may_be_busy_when_it_is_asked_where_files_are(model: Model) -> None:
    model.server.fault("status", where="hub", status=503, headers={"Retry-After": "1"}, times=3)
    assert model.is_right(model.fetch())


def test_expired_addresses_are_asked_for_anew(model: Model) -> None:
    model.server.bytes_per_second = 12 * MIB
    timer = threading.Timer(0.6, model.server.expire_signatures)
    timer.start()
    assert model.is_right(model.fetch(connections=2))
    assert any(seen.status == 403 for seen in model.server.seen)


def test_addresses_are_renewed_before_they_expire(model: Model) -> None:
    model.server.bytes_per_second = 12 * MIB
    model.server.signature_seconds = 1
    assert model.is_right(model.fetch(connections=2))
    assert len([seen for seen in model.server.seen if seen.method == "HEAD" and seen.path == BIG]) > 1


def test_a_proxy_that_ignores_ranges_costs_no_second_transfer(model: Model) -> None:
    model.server.fault("ignore_range", times=None)
    model.server.fault("ignore_range", where="hub", times=None)
    assert model.is_right(model.fetch(connections=3))
    assert model.server.bytes_sent() < 1.5 * TOTAL


def test_a_proxy_that_ignores_ranges_and_cuts(model: Model) -> None:
    model.server.fault("ignore_range", times=None)
    model.server.fault("cut", BIG, at=20 * MIB, times=2)
    assert model.is_right(model.fetch(connections=3))


def test_a_compressed_answer_is_unpacked(model: Model) -> None:
    answers.zipped(FILES[BIG])
    model.server.fault("gzip", where="both", times=None)
    assert model.is_right(model.fetch(connections=2))


def test_a_wrong_length_is_not_believed(model: Model) -> None:
    model.server.fault("wrong_length", BIG, at=100, times=2)
    assert model.is_right(model.fetch())


def test_always_wrong_lengths_end_with_a_clear_error(model: Model) -> None:
    model.server.fault("wrong_length", BIG, at=100, times=None)
    with pytest.raises(KitError, match="announces"):
        model.only(BIG).fetch()


def test_another_range_than_asked_for_is_not_believed(model: Model) -> None:
    model.server.fault("wrong_range", BIG, times=2)
    assert model.is_right(model.fetch())


def test_what_is_not_http_is_not_believed(model: Model) -> None:
    model.server.fault("garbage", BIG, times=2)
    assert model.is_right(model.fetch())


def test_a_file_that_changes_midway_is_a_clear_error(model: Model) -> None:
    model.server.bytes_per_second = 10 * MIB
    other = bytes(len(FILES[BIG]))

    def change() -> None:
        model.server.repos[model.repo.name].files[BIG] = other

    timer = threading.Timer(0.5, change)
    timer.start()
    with pytest.raises(KitError, match="is damaged"):
        model.only(BIG).fetch(connections=3)
    assert not (model.home / BIG).exists()


def test_without_a_hash_two_versions_are_never_mixed(model: Model) -> None:
    model.server.bytes_per_second = 10 * MIB
    source = Source.model_construct(url=f"{model.server.storage}/plain/{model.repo.name}")
    blind = model.only(BIG).with_files(sha256=None)
    blind.manifest = blind.manifest.model_copy(update={"source": source})
    other = bytes(len(FILES[BIG]))
    timer = threading.Timer(0.5, lambda: model.server.repos[model.repo.name].files.update({BIG: other}))
    timer.start()
    assert blind.fetch(connections=3)[BIG].read_bytes() == other


def test_a_server_that_restarts_is_waited_for(model: Model) -> None:
    model.server.bytes_per_second = 10 * MIB

    def restart() -> None:
        model.server.stop()
        time.sleep(1.5)
        model.server.start()

    timer = threading.Timer(0.6, restart)
    timer.start()
    assert model.is_right(model.fetch())
    timer.join()


def test_what_many_connections_lost_at_once_is_not_hashed_before_it_is_there_again(
    server: Hub, tmp_path: Path
) -> None:
    """Parts of several pieces come back in any order; the whole must not look damaged and come twice."""
    files = {"a.safetensors": noise(100 * MIB, 7)}
    repo = server.add("studio/large", files)
    server.bytes_per_second = 6 * MIB
    model = Model(server, repo, tmp_path / "models", manifest_of(repo, components={"unet": "a.safetensors"}))

    def restart() -> None:
        server.stop()
        time.sleep(0.5)
        server.start()

    timer = threading.Timer(1.2, restart)
    timer.start()
    found = model.fetch(connections=8)
    timer.join()
    assert found["a.safetensors"].read_bytes() == files["a.safetensors"]
    assert server.bytes_sent("a.safetensors") < 1.2 * len(files["a.safetensors"])


def test_a_shorter_file_than_the_manifest_says_is_a_clear_error(model: Model) -> None:
    model.server.repos[model.repo.name].files[BIG] = FILES[BIG][:1000]
    with pytest.raises(KitError, match="has 1000 bytes"):
        model.fetch()


def test_refused_connections_and_unknown_hosts_are_named(model: Model) -> None:
    with pytest.raises(KitError, match=r"127\.0\.0\.1:9 refuses connections"):
        model.fetch(endpoint="http://127.0.0.1:9")
    with pytest.raises(KitError, match=r"the name hub\.invalid cannot be resolved"):
        model.fetch(endpoint="https://hub.invalid")


def test_tls_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    pair = hub_server.certificate(tmp_path)
    with hub.serve(tls=pair) as server:
        repo = server.add("studio/small", FILES)
        secure = Model(server, repo, tmp_path / "models", manifest_of(repo))
        certificates._of_process.cache_clear()
        with pytest.raises(KitError, match=r"certificate of 127.0.0.1:.* is not trusted"):
            secure.fetch()
        monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
        certificates._of_process.cache_clear()
        assert secure.is_right(secure.fetch())
    certificates._of_process.cache_clear()
