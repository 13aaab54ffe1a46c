() => {
  // On a phone the picture is far below the button that begins it.
  document.addEventListener("click", (event) => {
    if (event.target.closest("#paint, #paint-on") && window.innerWidth <= 700) {
      document.getElementById("status")?.scrollIntoView({ behavior: "smooth" });
    }
  });
  // Names for screen readers where gradio gives none: buttons that are only an example picture or a color.
  const name = () => {
    for (const button of document.querySelectorAll("button.gallery-item:not([aria-label])")) {
      const file = button.querySelector("img")?.src.split("/").pop() ?? "";
      button.setAttribute("aria-label", "Example: " + decodeURIComponent(file).replace(/\.\w+$/, "").replace(/_/g, " "));
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
