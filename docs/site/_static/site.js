// What is wider than its place scrolls by itself; so it can be reached by the keyboard.
const WIDE = ".bd-article table, .bd-article pre, .bd-article .cell_output, mjx-container";

const watcher = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    const scrolls = target.scrollWidth > target.clientWidth
      || target.scrollHeight > target.clientHeight;
    if (scrolls) target.tabIndex = 0; // for good: the window may become narrow again
  }
});

function watchAll() {
  for (const part of document.querySelectorAll(WIDE)) watcher.observe(part);
}
watchAll();
addEventListener("load", () => { // when fonts are there, and equations
  watcher.disconnect();
  watchAll();
  window.MathJax?.startup?.promise?.then(watchAll);
});
