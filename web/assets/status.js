// The status page keeps itself up to date while somebody looks at it.
'use strict'

const every = 5000
const part = () => document.querySelector('[data-refresh]')
const refresh = async () => {
  // Where somebody reads with the keyboard, or has marked something, nothing moves.
  if (document.hidden || part().contains(document.activeElement) || !getSelection().isCollapsed) return
  try {
    const res = await fetch(location.pathname, { headers: { Accept: 'text/html' } })
    if (!res.ok) return
    const next = new DOMParser().parseFromString(await res.text(), 'text/html').querySelector('[data-refresh]')
    if (next) part().replaceWith(next)
  } catch {
    // The server is away: the next look may find it.
  }
}
if (part()) setInterval(refresh, every)
