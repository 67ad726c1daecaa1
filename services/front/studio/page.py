"""The studio: a Gradio form beside a screen, which talks to the videos API from the browser.

The page is a client of ``/v1/videos`` like any other, with the visitor's own cookie: one way to make a clip,
the same limits and errors, no token kept here, and nothing is lost when the page is reloaded.
"""

from __future__ import annotations

import html
import json
from functools import cache
from typing import Any

import gradio as gr
from fastapi import FastAPI

from bootstrap.choose.plan import Plan
from services.front.pages import boot_page
from services.front.studio import form, theme
from services.front.studio.origin import BrowserOrigin

SCRIPTS = ("words.js", "presence.js", "clips.js", "api.js", "screen.js", "library.js", "studio.js")
WRONG = '<div id="k-wrong" role="alert" hidden></div>'  # filled by pages/screen.js
# How often Gradio's queue looks for an event and for its progress: its own 1 and 10 ms are 3 % of a core for
# ever, and clips do not go through it.
EVENT_LOOK_SECONDS, PROGRESS_LOOK_SECONDS = 0.1, 0.5
KEEP_UPLOADS_SECONDS = 24 * 3600  # the API keeps its own copy of each photo


def application(plan: Plan) -> FastAPI:
    """An app of its own that serves the studio at its root. Enter its lifespan before it is mounted."""
    shell = FastAPI(openapi_url=None)
    shell.add_middleware(BrowserOrigin, script=boot_page.door())
    page = _page(plan)
    gr.mount_gradio_app(
        shell,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        max_file_size="25mb",
        theme=theme.kit(),
        head=_head(),
    )
    page._queue.sleep_when_free = EVENT_LOOK_SECONDS
    page._queue.progress_update_sleep_when_free = PROGRESS_LOOK_SECONDS
    return shell


def _head() -> str:
    """The style goes here, not to ``css``: Gradio rewrites selectors there and loses the dark colours."""
    style = boot_page.read("tokens.css") + boot_page.read("studio.css") + boot_page.read("presence.css")
    style += boot_page.read("door.css")
    return f'<link rel="icon" href="{boot_page.icon()}"><style>{style}</style>'


def _page(plan: Plan) -> gr.Blocks:
    with gr.Blocks(
        title=f"{plan.title} · kinokit",
        analytics_enabled=False,
        delete_cache=(3600, KEEP_UPLOADS_SECONDS),
        fill_width=True,
    ) as page:
        gr.HTML(_header(plan), elem_id="k-header", js_on_load=None)
        with gr.Row(elem_id="k-desk"):
            with gr.Column(elem_id="k-form", scale=2, min_width=300):
                fields = form.components(plan)
                gr.HTML(WRONG, js_on_load=None, elem_id="k-wrong-place")
                make = gr.Button(form.make_label(plan), variant="primary", elem_id="k-make")
            with gr.Column(elem_id="k-main", scale=3, min_width=300):
                screen = gr.HTML(
                    html_template=boot_page.read("screen.html"),
                    js_on_load=_script(plan, fields),
                    apply_default_css=False,
                    elem_id="k-screen",
                )
        _wire(plan, fields, make, screen)
    return page


def _wire(plan: Plan, fields: dict[str, Any], make: gr.Button, screen: gr.HTML) -> None:
    """All in the browser: the form's values go to ``window.kinokit`` (pages/studio.js) and come back."""
    names, controls = json.dumps(list(fields)), list(fields.values())
    quiet: dict[str, Any] = {"fn": None, "show_progress": "hidden", "api_visibility": "private"}
    make.click(inputs=controls, js=f"(...values) => {{ window.kinokit.make({names}, values); }}", **quiet)
    screen.reuse(outputs=controls, js=f"() => window.kinokit.filled({names})", **quiet)
    if form.PHOTO in fields:
        screen.photo(outputs=[fields[form.PHOTO]], js="() => window.kinokit.pasted()", **quiet)
    for name in ("num_frames", "fps"):
        fields[name].change(
            inputs=[fields["num_frames"], fields["fps"]],
            outputs=[make],
            js="(frames, fps) => window.kinokit.label(frames, fps)",
            **quiet,
        )
    follows = {name: f"followSwitch({json.dumps(name)}, chosen" for name in form.switches(plan)}
    for name, call in {
        "preset": "followPreset(chosen",
        **follows,
    }.items():  # choices that change other values
        if name in fields:
            fields[name].input(
                inputs=[fields[name], *controls],
                outputs=controls,
                js=f"(chosen, ...values) => window.kinokit.{call}, {names}, values)",
                **quiet,
            )


def _header(plan: Plan) -> str:
    mark = boot_page.read("mark.svg")
    brand = f'<span class="k-brand">{mark} kinokit</span>'
    out = '<button type="button" class="k-sign-out">Sign out</button>'
    model = f'<span class="k-model">{html.escape(plan.title)}</span>'
    return f'<div class="k-top">{brand}<span class="k-here">{model} {out}</span></div>'


@cache
def _scripts() -> str:
    return "\n".join(boot_page.read(name) for name in SCRIPTS)


def _script(plan: Plan, fields: dict[str, Any]) -> str:
    facts = {
        "photo": form.photo(plan),
        "prompt": "text" in plan.inputs,
        "labels": form.labels(),
        "texts": form.texts(fields),
        "defaults": form.defaults(plan),
        "presets": form.presets(plan),
        "switches": form.switches(plan),
    }
    mark = json.dumps(boot_page.read("mark.svg"))
    return f"const plan = {json.dumps(facts)};\nconst MARK = {mark};\n{_scripts()}"
