/* Four ticks from public bytes alone: leaf, chain, path, signature. WebCrypto, no library, no trust in the server.
 *
 * Formats: RFC 6962 tree and RFC 9162 path check, C2SP signed-note, tlog-checkpoint and tlog-proof. Positions are
 * plain numbers up to 2^53 - 1, so they are halved by division; bit operators would cut them to 32 bits.
 * Whatever is wrong with a proof is one "proof not valid": what it says is not worth telling apart.
 */
"use strict";

(() => {
    const HASH = 32;
    const MAX_PATH = 63;
    const MAX_PROOF = 131072;
    const HEAD = /^\{(?:"late":true,)?"log":"([!#-*,-[\]-~]{1,255})","prev":"([0-9a-f]{64})","rcvd":"[^"]*","seq":(0|[1-9][0-9]{0,15}),"sigs":/;
    const VKEY = /^([^\s+]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/;
    const SIGNATURE = /^\u2014 ([^\s+]{1,255}) ([A-Za-z0-9+/=]+)$/;

    class ProofInvalid extends Error {}

    function demand(condition) {
        if (!condition) throw new ProofInvalid("proof not valid");
    }

    // --- bytes
    const utf8 = (text) => new TextEncoder().encode(text);
    const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

    function joined(...parts) {
        const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
        let at = 0;
        for (const part of parts) {
            all.set(part, at);
            at += part.length;
        }
        return all;
    }

    /** Bytes of the one base64 spelling that they have. */
    function fromBase64(text) {
        let binary;
        try {
            binary = atob(text);
        } catch {
            throw new ProofInvalid("proof not valid");
        }
        demand(btoa(binary) === text);
        return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
    }

    const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
    const leafHash = (entry) => sha256([0], entry);
    const nodeHash = (left, right) => sha256([1], left, right);
    const genesis = (origin) => sha256(utf8(`ecp-genesis/v1\n${origin}\n`));

    function number(text) {
        demand(/^(0|[1-9][0-9]{0,15})$/.test(text));
        const value = Number(text);
        demand(Number.isSafeInteger(value));
        return value;
    }

    // --- formats
    async function readKey(text) {
        const found = VKEY.exec(text);
        demand(found);
        const data = fromBase64(found[3]);
        demand(data.length === 1 + HASH && data[0] === 1);
        const id = await sha256(utf8(`${found[1]}\n`), data);
        demand(hex(id.slice(0, 4)) === found[2]);
        return { name: found[1], id: found[2], publicKey: data.slice(1) };
    }

    function readProof(text) {
        demand(text.length <= MAX_PROOF);
        const blank = text.indexOf("\n\n");
        demand(blank > 0);
        const [header, ...lines] = text.slice(0, blank).split("\n");
        demand(header === "c2sp.org/tlog-proof@v1");
        if (lines[0]?.startsWith("extra ")) fromBase64(lines.shift().slice(6));
        demand(lines[0]?.startsWith("index ") && lines.length - 1 <= MAX_PATH);
        const index = number(lines[0].slice(6));
        const hashes = lines.slice(1).map(fromBase64);
        demand(hashes.every((hash) => hash.length === HASH));
        return { index, hashes, ...readCheckpoint(text.slice(blank + 2)) };
    }

    function readCheckpoint(note) {
        const blank = note.lastIndexOf("\n\n");
        demand(blank > 0 && note.endsWith("\n"));
        const text = note.slice(0, blank + 1);
        const [origin, size, root, rest, ...more] = text.split("\n");
        demand(origin && rest === "" && more.length === 0);
        const rootHash = fromBase64(root);
        demand(rootHash.length === HASH);
        const signatures = note.slice(blank + 2, -1).split("\n").map((line) => {
            const found = SIGNATURE.exec(line);
            demand(found);
            const data = fromBase64(found[2]);
            demand(data.length > 4);
            return { name: found[1], id: hex(data.slice(0, 4)), signature: data.slice(4) };
        });
        return { text, origin, size: number(size), root: rootHash, signatures };
    }

    /** Log, chain hash and position out of the entry's bytes; null when they are no entry. */
    function readEntry(bytes) {
        const found = HEAD.exec(new TextDecoder().decode(bytes.slice(0, 1024)));
        const seq = found ? Number(found[3]) : NaN;
        return Number.isSafeInteger(seq) ? { log: found[1], prev: found[2], seq } : null;
    }

    /** Root that an audit path leads to (RFC 9162 section 2.1.3.2). */
    async function rootOf({ index, size, leaf, hashes }) {
        demand(index < size);
        let [position, last, computed] = [index, size - 1, leaf];
        for (const sibling of hashes) {
            demand(last !== 0);
            if (position % 2 === 1 || position === last) {
                computed = await nodeHash(sibling, computed);
                while (position % 2 === 0 && position !== 0) {
                    position = Math.floor(position / 2);
                    last = Math.floor(last / 2);
                }
            } else {
                computed = await nodeHash(computed, sibling);
            }
            position = Math.floor(position / 2);
            last = Math.floor(last / 2);
        }
        demand(last === 0);
        return computed;
    }

    async function isSigned(checkpoint, key) {
        const lines = checkpoint.signatures.filter((line) => line.name === key.name && line.id === key.id);
        // A log that signs twice is as wrong as one that does not sign.
        if (checkpoint.origin !== key.name || lines.length !== 1) return false;
        const imported = await crypto.subtle.importKey("raw", key.publicKey, { name: "Ed25519" }, false, ["verify"]);
        return crypto.subtle.verify({ name: "Ed25519" }, imported, lines[0].signature, utf8(checkpoint.text));
    }

    // --- the ticks
    const tick = (name, passes, got, want) => ({ name, state: passes ? "pass" : "fail", got, want });

    async function chain(said, previous) {
        const want = said?.seq === 0 ? await genesis(said.log) : previous && (await leafHash(previous));
        const got = said ? said.prev : "no entry";
        return want ? tick("Chain", got === hex(want), got, hex(want)) : tick("Chain", false, got, "an entry before this one");
    }

    async function path(said, leaf, proof) {
        if (proof === null) return { name: "Path", state: "pending", got: "", want: "" };
        const want = proof === undefined ? "proof not valid" : hex(proof.root);
        try {
            demand(proof !== undefined && proof.index === said?.seq);
            const got = hex(await rootOf({ ...proof, leaf }));
            return tick("Path", got === want, got, want);
        } catch (error) {
            if (!(error instanceof ProofInvalid)) throw error;
            return tick("Path", false, error.message, want);
        }
    }

    async function signature(proof, vkey) {
        if (proof === null) return { name: "Signature", state: "pending", got: "", want: "" };
        if (!vkey) return { name: "Signature", state: "unavailable", got: "", want: "" };
        if (proof === undefined) return tick("Signature", false, "proof not valid", vkey);
        const key = await readKey(vkey);
        const signed = `${hex(proof.root)}, ${proof.size}`;
        return (await isSigned(proof, key))
            ? tick("Signature", true, signed, signed)
            : tick("Signature", false, "no signature by this key", vkey);
    }

    /** `proofText` is null while no checkpoint covers the entry; `previous` is null for the first entry. */
    async function check({ entry, previous, proofText, vkey, leaf }) {
        const said = readEntry(entry);
        const computed = await leafHash(entry);
        let proof = null;
        if (proofText !== null) {
            try {
                proof = readProof(proofText);
            } catch (error) {
                if (!(error instanceof ProofInvalid)) throw error;
                proof = undefined;
            }
        }
        const checks = [
            tick("Leaf", hex(computed) === leaf, hex(computed), leaf),
            await chain(said, previous),
            await path(said, computed, proof),
            await signature(proof, vkey),
        ];
        const states = checks.map((made) => made.state);
        let verdict = "verified";
        if (states.includes("fail")) verdict = "failed";
        else if (states.some((state) => state !== "pass")) verdict = "pending";
        return { verdict, checks };
    }

    /** "" when this browser can make the checks, else why not. */
    async function obstacle() {
        if (!globalThis.isSecureContext || !globalThis.crypto?.subtle) return "insecure";
        try {
            await crypto.subtle.importKey("raw", new Uint8Array(HASH).fill(9), { name: "Ed25519" }, false, ["verify"]);
        } catch (error) {
            if (error.name === "NotSupportedError") return "unsupported";
        }
        return "";
    }

    globalThis.ecpVerify = { check, obstacle, readKey };

    // --- the page
    const memory = {
        name: (origin) => `ecp.vkey:${origin}`,
        read(origin) {
            try {
                return localStorage.getItem(this.name(origin));
            } catch {
                return null;
            }
        },
        write(origin, vkey) {
            try {
                localStorage.setItem(this.name(origin), vkey);
                return true;
            } catch {
                return false;
            }
        },
    };

    function short(text) {
        return text.replace(/\b[0-9a-f]{64}\b/g, (digest) => `${digest.slice(0, 8)}\u2026${digest.slice(-4)}`);
    }

    function shown(box) {
        const part = (name) => box.querySelector(`[data-part="${name}"]`);
        const say = (name) => box.querySelector(`[data-say="${name}"]`).textContent;
        const { origin, leaf } = box.dataset;
        const offered = box.dataset.keys.split(" ").at(-1);
        let vkey = "";

        function use(key, told) {
            vkey = key;
            part("key").textContent = key || say("nokey");
            part("memory").textContent = told ? say(told) : "";
        }

        function keep(key, told) {
            use(key, memory.write(origin, key) ? told : "nowhere");
            part("changed").hidden = true;
        }

        const remembered = memory.read(origin);
        if (remembered) use(remembered, "known");
        else if (offered) keep(offered, "first");
        else use("", "");
        if (remembered && offered && remembered !== offered) {
            part("offered").textContent = offered;
            part("changed").hidden = false;
        }
        part("accept").addEventListener("click", () => keep(offered, "known"));
        part("paste").addEventListener("submit", async (event) => {
            event.preventDefault();
            const given = box.querySelector("#verify-key").value.trim();
            const problem = box.querySelector("#verify-key-problem");
            problem.textContent = "";
            try {
                demand((await readKey(given)).name === origin);
                keep(given, "known");
            } catch {
                problem.textContent = say("badkey");
            }
        });

        /** Bytes; null where the server says that there are none. */
        async function fetched(address, absent) {
            const answer = await fetch(address, { credentials: "same-origin", cache: "no-store" });
            if (answer.status === absent) return null;
            if (!answer.ok || answer.redirected) throw new TypeError(address);
            return new Uint8Array(await answer.arrayBuffer());
        }

        function cell(text) {
            const made = document.createElement("td");
            if (short(text) === text) {
                made.textContent = text;
                return made;
            }
            const details = document.createElement("details");
            const summary = document.createElement("summary");
            const full = document.createElement("span");
            details.className = "digest";
            full.className = "hash";
            summary.textContent = short(text);
            full.textContent = text;
            details.append(summary, full);
            made.append(details);
            return made;
        }

        function row(made) {
            const line = document.createElement("tr");
            const head = document.createElement("th");
            head.scope = "row";
            head.className = `tick-${made.state}`;
            head.textContent = `${say(made.name)}: ${say(made.state === "pending" ? "wait" : made.state)}`;
            line.append(head, cell(made.got), cell(made.want));
            return line;
        }

        function verdict(name) {
            part("verdict").className = `verdict-${name}`;
            part("verdict").textContent = say(name);
        }

        async function start() {
            const why = await obstacle();
            part("region").hidden = true;
            if (why) {
                verdict(why);
                part("offline").hidden = false;
                return;
            }
            verdict("busy");
            try {
                const [entry, previous, proof] = await Promise.all([
                    fetched(box.dataset.entry),
                    box.dataset.previous ? fetched(box.dataset.previous, 404) : null,
                    fetched(box.dataset.proof, 409),
                ]);
                const proofText = proof && new TextDecoder().decode(proof);
                const found = await check({ entry, previous, proofText, vkey, leaf });
                part("rows").replaceChildren(...found.checks.map(row));
                part("region").hidden = false;
                verdict(found.verdict);
            } catch {
                verdict("unreachable");
            }
        }

        part("start").addEventListener("click", start);
        box.hidden = false;
    }

    const box = document.getElementById("verify-here");
    if (box) shown(box);
})();
