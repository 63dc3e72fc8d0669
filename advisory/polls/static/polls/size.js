/* Works out the size of a sample while somebody types; without it a button does the same. */
"use strict";
{
    const box = document.getElementById("size");
    const said = box.querySelector("[data-size-said]");
    const token = document.querySelector("form.note-form input[name=csrfmiddlewaretoken]").value;
    const number = (id) => Number(document.getElementById(id).value);
    let asked = 0;

    const workOut = async () => {
        const turn = ++asked;
        const body = { frame_size: number("frame_size"), margin_pct: number("margin_pct"), confidence_pct: number("confidence_of_size") };
        if (!Object.values(body).every(Number.isInteger)) return;
        const answer = await fetch(box.dataset.size, {
            method: "POST",
            headers: { "Content-Type": "application/json", "X-CSRFToken": token },
            body: JSON.stringify(body),
        }).catch(() => null);
        if (turn !== asked || !answer) return;
        said.textContent = answer.ok ? `${said.dataset.sizeSaid} ${(await answer.json()).n}` : "";
    };
    for (const id of ["frame_size", "margin_pct", "confidence_of_size"]) {
        document.getElementById(id).addEventListener("input", workOut);
    }
}
