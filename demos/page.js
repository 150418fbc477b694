// Run once a page is there. What of Gradio's own a screen reader cannot use is mended, whenever it is drawn.
() => {
  const mend = () => {
    // Its messages are buttons that hold a button. The outer one only folds the message, and is none here.
    for (const header of document.querySelectorAll(".toast-header[role]")) {
      header.removeAttribute("role");
      header.removeAttribute("tabindex");
    }
    // Its buttons for files hold the box that they stand for.
    for (const input of document.querySelectorAll("button input[type=file]:not([hidden])")) input.hidden = true;
    // Their names say neither what the file is for nor what stands on them.
    for (const button of document.querySelectorAll("button.upload-container")) {
      const label = button.closest(".block")?.querySelector("[data-testid=block-label]")?.textContent.trim();
      const shown = button.textContent.replace(/\s+/g, " ").trim();
      const name = `${label ?? "File"}: ${shown}`;
      if (button.getAttribute("aria-label") !== name) button.setAttribute("aria-label", name);
    }
  };
  mend();
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
}
