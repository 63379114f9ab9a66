(() => {
  for (const root of document.querySelectorAll(".fastai-hf-report:not([data-awake])")) {
    root.dataset.awake = "";
    root.querySelectorAll("button.copy").forEach(copying);
    root.querySelectorAll(".plot").forEach(readByKeys);
  }

  function copying(button) {
    const code = button.parentElement.querySelector("code");
    button.hidden = false;
    button.addEventListener("click", async () => {
      const copied = await copy(code);
      button.textContent = copied ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  async function copy(element) {
    try {
      await navigator.clipboard.writeText(element.textContent);
      return true;
    } catch (refused) { // in a sandboxed frame, or without https
      getSelection().selectAllChildren(element);
      return document.execCommand("copy");
    }
  }

  function readByKeys(plot) {
    const strips = [...plot.querySelectorAll(".strips i")], described = plot.getAttribute("aria-label");
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    let here = null;

    function read(place) {
      if (here !== null) strips[here].classList.remove("read");
      here = place;
      if (here !== null) strips[here].classList.add("read");
      plot.setAttribute("aria-label", here === null ? described : strips[here].dataset.at);
    }

    plot.tabIndex = 0;
    plot.setAttribute("aria-live", "polite");
    plot.addEventListener("blur", () => read(null));
    plot.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return read(null);
      if (!(event.key in steps) || !strips.length) return;
      event.preventDefault();
      const from = here ?? (steps[event.key] > 0 ? -1 : strips.length);
      read(Math.min(strips.length - 1, Math.max(0, from + steps[event.key])));
    });
  }
})();
