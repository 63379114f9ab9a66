(() => {
  const root = document.documentElement, key = "fastai-hf-theme " + location.pathname;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "theme";

  function show(theme) {
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", theme === "dark" ? "Show this page in light" : "Show this page in dark");
  }

  function remembered() {
    try { return sessionStorage.getItem(key); } catch (refused) { return null; }
  }

  function remember(theme) {
    try { sessionStorage.setItem(key, theme); } catch (refused) { /* a frame without storage */ }
  }

  show(remembered() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  button.addEventListener("click", () => {
    show(root.dataset.theme === "dark" ? "light" : "dark");
    remember(root.dataset.theme);
  });
  document.querySelector("main").prepend(button);
})();
