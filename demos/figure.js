// A figure that demos/lab_page.py drew. The page gives `element`, what it drew, `props.value`, whose `html` is shown,
// and `watch`, which tells when that changes.

const root = element.querySelector(".suite");

function show() {
  root.innerHTML = props.value?.html ?? "";
}

watch("value", show);
show();
