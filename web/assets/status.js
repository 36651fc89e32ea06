// The status page refreshes itself while it is visible.
'use strict'

const every = 5000
const part = () => document.querySelector('[data-refresh]')
const refresh = async () => {
  // Nothing moves while an element has the focus or text is selected.
  if (document.hidden || part().contains(document.activeElement) || !getSelection().isCollapsed) return
  try {
    const res = await fetch(location.pathname, { headers: { Accept: 'text/html' } })
    if (!res.ok) return
    const next = new DOMParser().parseFromString(await res.text(), 'text/html').querySelector('[data-refresh]')
    if (next) part().replaceWith(next)
  } catch {
    // The server is unreachable; the next refresh tries again.
  }
}
if (part()) setInterval(refresh, every)
