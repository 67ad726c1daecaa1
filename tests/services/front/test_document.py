"""/openapi.json is true. ``running.documented`` holds it against each status that any test meets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services.front.running import Front

OPEN = ("/healthz", "/readyz", "/ping")


@pytest.fixture
def document(wan: Front) -> dict[str, Any]:
    found: dict[str, Any] = wan.people.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_it_says_who_needs_a_token_and_that_is_so(document: dict[str, Any], wan: Front) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["security"] == [{"bearer": []}]
    for method, path, operation in operations(document):
        is_open = operation.get("security") == []
        answer = wan.anybody.request(method, path.replace("{video_id}", "video_0"))
        assert (answer.status_code != 401) == is_open, path
        assert ("401" in operation["responses"]) != is_open, path


def test_every_error_has_its_body_and_an_example(document: dict[str, Any]) -> None:
    assert len(operations(document)) > 15
    for method, path, operation in operations(document):
        for status, response in operation["responses"].items():
            assert "422" not in operation["responses"]
            assert "X-Request-Id" in response["headers"], (method, path, status)
            if int(status) >= 400 and path not in OPEN:
                body = response["content"]["application/json"]
                assert body["schema"] == {"$ref": "#/components/schemas/Error"}, (method, path, status)
                assert set(body["example"]["error"]) == set(  # all but a batch's errors
                    document["components"]["schemas"]["Error"]["properties"]["error"]["required"]
                )


def test_files_and_events_are_told_by_their_kind(document: dict[str, Any]) -> None:
    def kinds(method: str, path: str) -> set[str]:
        return set(document["paths"][path][method]["responses"]["200"]["content"])

    assert kinds("get", "/v1/videos/{video_id}/content") == {"video/mp4", "image/*"}
    assert kinds("post", "/v1/videos/sync") == {"video/mp4"}
    assert kinds("get", "/v1/videos/{video_id}/events") == {"text/event-stream"}
    stream = document["paths"]["/v1/videos/{video_id}/events"]["get"]["responses"]["200"]
    assert "event: done" in stream["content"]["text/event-stream"]["example"]


def test_the_examples_work_as_they_stand(document: dict[str, Any], wan: Front) -> None:
    create = document["paths"]["/v1/videos"]["post"]
    answer = wan.people.post(
        "/v1/videos", json=create["requestBody"]["content"]["application/json"]["example"]
    )
    assert answer.status_code == 200
    shown = create["responses"]["200"]["content"]["application/json"]["example"]
    assert set(shown) <= set(answer.json())


def test_models_are_typed(document: dict[str, Any], wan: Front) -> None:
    model = document["components"]["schemas"]["Model"]
    assert set(model["properties"]) == set(wan.people.get("/v1/models/demo-wan").json())
    assert {"id", "created", "limits", "parameters", "presets"} <= set(model["properties"])


def test_a_request_that_makes_something_names_its_key(document: dict[str, Any]) -> None:
    for path in ("/v1/videos", "/v1/videos/sync", "/v1/videos/{video_id}/remix"):
        names = [each["name"] for each in document["paths"][path]["post"]["parameters"]]
        assert "Idempotency-Key" in names, path
        assert "Idempotent-Replayed" in document["paths"][path]["post"]["responses"]["200"]["headers"]
