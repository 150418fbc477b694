"""How the pages look: system fonts, colours with enough contrast, light and dark, wide and narrow."""

from __future__ import annotations

import gradio as gr

_SYSTEM_FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_SYSTEM_MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """Gradio's soft theme, with text dark enough on its ground (WCAG 2.1: a contrast of 4.5)."""
    return gr.themes.Soft(font=_SYSTEM_FONT, font_mono=_SYSTEM_MONO).set(
        body_background_fill="*neutral_100",
        block_border_width="1px",
        block_border_color="*neutral_200",
        input_border_width="1px",
        input_border_color="*neutral_400",
        input_border_color_dark="*neutral_500",
        block_label_text_color="*primary_800",
        block_title_text_color="*primary_800",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_secondary_background_fill_hover_dark="*primary_700",
        color_accent="*primary_600",
        link_text_color_dark="*primary_300",
        checkbox_label_background_fill_selected="*primary_600",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
    )


STYLE = """
.gradio-container { width: 100% !important; max-width: 54rem !important; min-width: 0;
    margin: 0 auto !important; --doubt: 245 158 11; --line: #4b5563; --playing: #4338ca;
    --line0: #0072b2; --line1: #b84a00; --line2: #007a56; --line3: #a03f74; }
.dark { --doubt: 180 83 9; --line: #d1d5db; --playing: #a5b4fc;
    --line0: #6db9ec; --line1: #ff9d5c; --line2: #3fd3a3; --line3: #eba0c8; }
.dark .suite { color-scheme: dark; }
.dark button[role="tab"].selected { color: var(--playing) !important; }
.answer textarea { font-size: 1.35rem !important; line-height: 1.5 !important; }
.suite :focus-visible, .suite button:focus-visible { outline: 3px solid var(--playing); outline-offset: 1px; }
.suite h2 { margin: 0.9rem 0 0.3rem; font-size: 1rem; }
.suite p { margin: 0.3rem 0; }
.block:has(.result:empty) { display: none !important; }
.suite .hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.suite audio { width: 100%; }
.suite .words { line-height: 2.1; overflow-wrap: anywhere; font-size: 1.15rem; }
.suite .words button { all: unset; cursor: pointer; border-radius: 0.25rem; padding: 0.1rem 0.25rem;
    color: var(--body-text-color); background: rgb(var(--doubt) / calc(0.75 * var(--unsure))); }
.suite .words button.unsure { text-decoration: underline dotted; text-underline-offset: 0.2em; }
.suite .words button.playing { box-shadow: 0 0 0 2px var(--playing); }
.suite .sound { overflow-x: auto; position: relative; }
.suite .sound svg { display: block; }
.suite .sound text { font-size: 12px; fill: var(--body-text-color); }
.suite .links a, .suite .links button { display: inline-block; margin: 0 0.5rem 0.5rem 0;
    padding: 0.35rem 0.8rem; border: 1px solid var(--line); border-radius: 0.4rem;
    color: var(--body-text-color); background: var(--block-background-fill); text-decoration: none;
    cursor: pointer; font: inherit; }
.suite table { width: 100%; border-collapse: collapse; border: 0; }
.suite tr { border: 0; }
.suite th, .suite td { text-align: left; vertical-align: top; padding: 0.35rem 0.5rem;
    border: 0; border-bottom: 1px solid var(--border-color-primary); overflow-wrap: anywhere; }
.suite th { overflow-wrap: break-word; }
.suite thead th { white-space: nowrap; }
/* A button in a button, which screen readers cannot use; the page has one of its own. */
.icon-button:has(button) { display: none !important; }
.suite .pictures { display: flex; flex-wrap: wrap; gap: 0.5rem; }
.suite .pictures button { all: unset; cursor: pointer; border: 3px solid transparent; border-radius: 0.4rem; }
.suite .pictures button[aria-pressed="true"] { border-color: var(--playing); }
.suite .pictures img { display: block; height: 5.5rem; border-radius: 0.2rem; }
.suite .look { display: block; max-width: 100%; max-height: 24rem; margin: 0 auto; }
.suite video { width: 100%; max-height: 15rem; }
.suite mark { background: rgb(var(--doubt) / 0.6); color: var(--body-text-color); border-radius: 0.2rem;
    padding: 0 0.15rem; }
.suite input[type="range"] { width: 100%; }
.suite .caption { font-size: 1.35rem; line-height: 1.5; }
.suite figure { margin: 0; }
.suite figcaption { font-size: 0.9rem; color: var(--body-text-color-subdued); margin: 0.2rem 0 0.6rem; }
.suite .wide { overflow-x: auto; }
.suite .chart, .suite .shades, .suite .ticks { display: block; min-width: 34rem; width: 100%; }
.suite .chart text { font-size: 12px; fill: var(--body-text-color); }
.suite polyline { fill: none; stroke-width: 2; }
.suite .grid { stroke: var(--border-color-primary); }
.suite .line0 { stroke: var(--line0); } .suite .line1 { stroke: var(--line1); }
.suite .line2 { stroke: var(--line2); } .suite .line3 { stroke: var(--line3); }
.suite .legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; list-style: none; padding: 0;
    margin: 0.2rem 0; }
.suite .legend svg { display: inline-block; vertical-align: middle; }
.suite .shades { display: flex; height: var(--height); border: 1px solid var(--line);
    box-sizing: border-box; }
.suite .shades img { flex: 1; min-width: 0; height: 100%; image-rendering: pixelated; }
.suite .rows { width: 4.5rem; display: flex; flex-direction: column; justify-content: space-around;
    padding: 0 0.4rem; }
.suite .ticks { position: relative; height: 2.6rem; font-size: 0.8rem; }
.suite .ticks span { position: absolute; top: 0; white-space: nowrap; border-left: 1px solid var(--line);
    padding-left: 0.15rem; line-height: 1.2rem; }
.suite .ticks span.low { padding-top: 1.2rem; }
.suite .ticks.indent { width: calc(100% - 4.5rem); min-width: 29.5rem; margin-left: 4.5rem; }
.suite .topology { max-width: 34rem; width: 100%; }
.suite .topology .cell { fill: var(--block-background-fill); stroke: var(--line0); stroke-width: 2; }
.suite .topology .read { fill: var(--line1); } .suite .topology .said { fill: var(--line2); }
.suite .topology .arrow { stroke: var(--line); stroke-width: 1.5; }
.suite textarea { width: 100%; background: var(--input-background-fill); color: var(--body-text-color);
    border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.5rem; font-size: 1.15rem; }
.gradio-container .app { padding-inline: clamp(0.75rem, 4vw, 2rem) !important; }
button.label-wrap { gap: 0.5rem; text-align: left; }
@media (max-width: 30rem) {
    .html-container { padding: 0.5rem !important; }
    .suite th, .suite td { padding: 0.3rem 0.25rem; }
}
"""
