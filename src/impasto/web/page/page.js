() => {
  const status = () => document.querySelector("#status p");
  document.addEventListener("click", (event) => {
    const begins = event.target.closest("#paint, #paint-on, #try-all, #film-three, #film-paint, [data-act=style]");
    if (!begins && !event.target.closest("[data-act]")) return;
    // On a phone the picture is far below the button that begins it.
    if (begins && window.innerWidth <= 700) status()?.scrollIntoView({ behavior: "smooth" });
    // An answer is not shown if gradio closes its idle connection just when it is asked for. The next event opens it again,
    // and brings that answer, too.
    const said = status()?.innerText;
    setTimeout(() => { if (status()?.innerText === said) document.getElementById("wake")?.click(); }, 2000);
  });
  // Ways to look at a finished painting. Their keys work where the picture, or one of its buttons, was clicked.
  const viewer = () => document.querySelector("#result .viewer");
  const hold = (on) => {
    const compared = document.querySelector("#result .compared");
    compared?.style.setProperty("--at", on ? "100%" : compared.querySelector("input").value + "%");
  };
  const look = {
    full: () => (document.fullscreenElement ? document.exitFullscreen() : viewer().requestFullscreen()),
    real: () => {
      if (!document.querySelector("[data-view=real]")) return;  // two side by side
      const real = viewer().classList.toggle("real");
      const painting = viewer().querySelector("img");
      document.querySelector("[data-view=real]").setAttribute("aria-pressed", real);
      painting.onload = () => { painting.style.width = real ? painting.naturalWidth / devicePixelRatio + "px" : ""; };
      painting.dataset.small ??= painting.src;
      painting.src = real ? painting.dataset.real : painting.dataset.small;
    },
  };
  document.addEventListener("click", (event) => look[event.target.closest("[data-view]")?.dataset.view]?.());
  document.addEventListener("pointerdown", (event) => { if (event.target.closest("[data-view=hold]")) hold(true); });
  for (const end of ["pointerup", "pointercancel", "blur"]) window.addEventListener(end, () => hold(false));
  for (const kind of ["keydown", "keyup"]) {
    document.addEventListener(kind, (event) => {
      if (!event.target.closest?.("#result") || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
      const holding = event.target.dataset.view === "hold" && (event.key === " " || event.key === "Enter");
      if (event.key === "p" || holding) hold(kind === "keydown");
      else if (kind === "keydown") look[{ f: "full", r: "real" }[event.key]]?.();
    });
  }
  // Names for screen readers where gradio gives none: buttons that are only an example picture or a color.
  const name = () => {
    for (const button of document.querySelectorAll("button.gallery-item:not([aria-label])")) {
      const file = button.querySelector("img")?.src.split("/").pop();  // none before the picture is there
      if (file) button.setAttribute("aria-label", "Example: " + decodeURIComponent(file).replace(/\.\w+$/, "").replace(/_/g, " "));
    }
    document.querySelectorAll("#brush button.color").forEach((button, k) => {
      const meaning = document.querySelectorAll(".patches li")[k]?.innerText;
      if (meaning && !button.hasAttribute("aria-label")) button.setAttribute("aria-label", "What " + meaning);
    });
  };
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
  // The visitor is there while the page is open. When nothing came for a while (a lid was closed, a phone slept), the
  // painting in progress is followed again.
  const preview = document.getElementById("preview");
  let heard = Date.now();
  new MutationObserver(() => { heard = Date.now(); }).observe(preview, { childList: true, subtree: true, attributes: true });
  const followAgain = () => {
    const running = !document.getElementById("stop")?.disabled;
    if (running && Date.now() - heard > 6000) {
      heard = Date.now();
      document.getElementById("follow")?.click();
    }
  };
  setInterval(followAgain, 2000);
  setInterval(() => fetch("healthz").catch(() => {}), 30000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) followAgain(); });
};
