"""How the page looks, and how it keeps itself fresh: the only style and the only script that it has."""

from __future__ import annotations

import base64
import hashlib

# Seconds between two looks: by the script, and by the browser where there are no scripts.
FRESH, SLOW = 5, 30

CSS = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1b2430;--dim:#5a6675;--rule:#dfe3e9;
--good:#1a7f4b;--bad:#c0281c;--warn:#8a5a00;--goodbg:#e3f4ea;--badbg:#fde8e6;--warnbg:#fbf0d9;
--bar:#2f9e68;--low:#d6453a}
@media(prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1a2028;--ink:#e4e8ee;--dim:#9aa6b5;--rule:#2d3540;
--good:#63d39a;--bad:#ff8f85;--warn:#f0bd5c;--goodbg:#16332a;--badbg:#43201f;--warnbg:#3a2e14;
--bar:#3fb57c;--low:#f0665b}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:14px/1.45 system-ui,"DejaVu Sans",sans-serif}
main,header,footer{max-width:1180px;margin:0 auto;padding:0 20px}
header{padding-top:22px}
h1{font-size:22px;margin:0}
h1 small{font-size:13px;font-weight:400;color:var(--dim);margin-left:8px}
h2{font-size:15px;margin:0 0 8px}
p{margin:4px 0}
.dim,.more,footer{color:var(--dim)}
.num,time,code{font-variant-numeric:tabular-nums}
code{font:12.5px ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.note{border-left:4px solid var(--good);background:var(--goodbg);border-radius:4px;padding:9px 14px;margin:16px 0}
.note.bad{border-color:var(--bad);background:var(--badbg)}
.note ul{margin:4px 0 0;padding-left:18px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));
gap:12px;margin:0 0 16px;padding:0;list-style:none}
.tiles li,section{background:var(--card);border:1px solid var(--rule);border-radius:8px}
.tiles li{padding:11px 14px}
.tiles b{display:block;font-size:21px;line-height:1.25}
.tiles span{color:var(--dim);font-size:12.5px}
section{padding:15px 18px 12px;margin:0 0 16px}
table{width:100%;border-collapse:collapse}
caption{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}
th,td{text-align:left;vertical-align:top;padding:6px 14px 6px 0;border-top:1px solid var(--rule);overflow-wrap:anywhere}
thead th{border:0;color:var(--dim);font-size:12px;font-weight:500;white-space:nowrap;padding-top:0}
tbody th{font-weight:600}
tbody th span,tbody th span *{font-weight:400}
tr>:last-child{padding-right:0}
td small,th small{display:block;color:var(--dim);font-weight:400;font-size:12.5px}
.tag{display:inline-block;white-space:nowrap;border-radius:10px;padding:0 8px;font-size:12.5px;background:var(--rule)}
.tag.ok{color:var(--good);background:var(--goodbg)}
.tag.bad{color:var(--bad);background:var(--badbg)}
.tag.warn{color:var(--warn);background:var(--warnbg)}
.ok{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}.note.bad{color:inherit}
.ends{margin:0;padding:0;list-style:none}
.ends li{padding:1px 0}
.strip{display:block;width:240px;max-width:100%;height:16px;background:var(--bg);border-radius:2px}
.strip .up{fill:var(--bar)}.strip .down{fill:var(--low)}.strip .unknown{fill:var(--dim);opacity:.55}
.nowrap{white-space:nowrap}
footer{font-size:12.5px;padding-bottom:24px}
@media(max-width:720px){main,header,footer{padding-left:12px;padding-right:12px}
thead{position:absolute;clip-path:inset(50%)}
table,tbody,tr,td,tbody th{display:block}
tr{border-top:1px solid var(--rule);padding:7px 0}tr:first-child{border:0}
td,tbody th{border:0;padding:1px 0}
td[data-label]:not([data-label=""])::before{content:attr(data-label) ": ";color:var(--dim);font-size:12.5px}}
"""

# Fetches the page again and puts its new main part in the place of the old one.
SCRIPT = """
(function(){
var stale=document.getElementById("stale");
async function look(){
if(document.hidden)return;
try{
var got=await fetch(location.pathname,{cache:"no-store"});
if(!got.ok)throw got.status;
var page=new DOMParser().parseFromString(await got.text(),"text/html");
document.querySelector("main").replaceWith(page.querySelector("main"));
document.querySelector("header").replaceWith(page.querySelector("header"));
document.title=page.title;stale.hidden=true;
}catch(e){stale.hidden=false}
}
setInterval(look,FRESH);
})();
""".replace("FRESH", str(FRESH * 1000))


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


# Nothing but this very style and script, and the page itself again.
POLICY = (
    f"default-src 'none'; style-src {_hash(CSS)}; script-src {_hash(SCRIPT)}; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
