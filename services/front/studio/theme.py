"""Gradio's theme variables, pointed at the colours that all pages of the kit share (pages/tokens.css)."""

from __future__ import annotations

import gradio as gr

# Names of the system's own fonts: nothing is fetched
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
MONO = ("ui-monospace", "Cascadia Mono", "Noto Sans Mono", "DejaVu Sans Mono", "monospace")

COLOURS = {
    "body_background_fill": "--k-bg",
    "background_fill_primary": "--k-card",
    "background_fill_secondary": "--k-sunk",
    "body_text_color": "--k-ink",
    "body_text_color_subdued": "--k-soft",
    "block_background_fill": "--k-card",
    "block_border_color": "--k-line",
    "block_info_text_color": "--k-soft",
    "block_label_background_fill": "--k-card",
    "block_label_text_color": "--k-soft",
    "block_title_text_color": "--k-ink",
    "border_color_primary": "--k-line",
    "border_color_accent": "--k-accent",
    "color_accent": "--k-accent",
    "color_accent_soft": "--k-accent-soft",
    "link_text_color": "--k-accent",
    "input_background_fill": "--k-card",
    "input_border_color": "--k-line",
    "input_border_color_focus": "--k-accent",
    "input_placeholder_color": "--k-soft",
    "slider_color": "--k-accent",
    "checkbox_background_color": "--k-card",
    "checkbox_background_color_selected": "--k-accent",
    "checkbox_border_color": "--k-soft",
    "checkbox_border_color_selected": "--k-accent",
    "checkbox_label_background_fill": "--k-card",
    "checkbox_label_background_fill_selected": "--k-accent-soft",
    "checkbox_label_border_color": "--k-line",
    "checkbox_label_text_color": "--k-ink",
    "checkbox_label_text_color_selected": "--k-ink",
    "button_primary_background_fill": "--k-accent",
    "button_primary_background_fill_hover": "--k-accent",
    "button_primary_border_color": "--k-accent",
    "button_primary_text_color": "--k-accent-ink",
    "button_secondary_background_fill": "--k-card",
    "button_secondary_background_fill_hover": "--k-sunk",
    "button_secondary_border_color": "--k-line",
    "button_secondary_text_color": "--k-ink",
    "error_background_fill": "--k-bad-soft",
    "error_text_color": "--k-bad",
    "error_border_color": "--k-bad",
}


def kit() -> gr.themes.Base:
    """One set of variables for light and dark: the tokens themselves follow the system."""
    theme = gr.themes.Base(font=SANS, font_mono=MONO, radius_size="md", text_size="md")
    values = {name: f"var({token})" for name, token in COLOURS.items()}
    known = vars(theme)
    values |= {f"{name}_dark": value for name, value in values.items() if f"{name}_dark" in known}
    return theme.set(
        **values,
        block_shadow="none",
        block_shadow_dark="none",
        input_border_width="1px",
        input_border_width_dark="1px",
        input_shadow="none",
        input_shadow_focus="none",
    )
