// Scripts of the pages: live figures and links, copying, and the shortcut to the search input. Pages work without
// them.
'use strict'

// Copying.
for (const button of document.querySelectorAll('[data-copy]')) {
  if (!navigator.clipboard) break // only where the connection is secure
  button.hidden = false
  const label = button.textContent
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy)
      button.textContent = 'Copied'
    } catch {
      button.textContent = 'Copy failed'
    }
    setTimeout(() => { button.textContent = label }, 1500)
  })
}

// A slash focuses the search input, as on other sites.
document.addEventListener('keydown', (event) => {
  const typing = event.target instanceof Element && event.target.closest('input, textarea, select, [contenteditable]')
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || typing) return
  const find = document.querySelector('[data-find]')
  if (!find) return
  event.preventDefault()
  find.focus()
  find.select()
})

// Looks up handles that the server has not cached. The page is displayed already; late answers are ignored.
const names = async () => {
  const unknown = new Map()
  for (const a of document.querySelectorAll('[data-did]')) {
    if (!a.textContent.startsWith('did:')) continue
    unknown.set(a.dataset.did, [...(unknown.get(a.dataset.did) ?? []), a])
  }
  const dids = [...unknown.keys()].slice(0, 100)
  if (!dids.length) return
  const answer = await fetch('/names?' + new URLSearchParams(dids.map((did) => ['did', did])))
  if (!answer.ok) return
  for (const [did, handle] of Object.entries(await answer.json())) {
    for (const a of unknown.get(did) ?? []) a.textContent = handle
  }
}
if ('names' in document.body.dataset) names().catch(() => {})

// The live page.
const ticker = document.querySelector('[data-ticker]')
if (ticker && window.EventSource) {
  const rows = 12
  const spark = document.querySelector('[data-spark]')
  const pause = document.querySelector('[data-pause]')
  const lost = document.querySelector('[data-lost]')
  let source = null

  const element = (tag, name, text) => {
    const e = document.createElement(tag)
    e.className = name
    e.textContent = text
    return e
  }
  const link = (name, text, href) => {
    const a = element('a', name, text)
    if (href.startsWith('/')) a.href = href
    return a
  }
  const line = (l) => {
    const li = element('li', l.color + (l.removed ? ' gone' : '') + ' fresh', '')
    const avatar = element('span', 'avatar avatar' + l.avatarColor, l.initials)
    avatar.setAttribute('aria-hidden', 'true')
    const said = element('span', 'said', '')
    said.append(link('who', l.who, l.whoHref), ' ', element('span', 'verb', l.verb), ' ', link('what', l.what, l.whatHref))
    li.append(avatar, said, element('time', '', l.time))
    return li
  }

  let rates = []
  const draw = () => {
    const [width, height, beats] = [4, 32, 90]
    const most = Math.max(0, ...rates)
    const top = Math.max(1, Math.min(most, 2 * [...rates].sort((a, b) => a - b)[rates.length >> 1]))
    spark.replaceChildren(...rates.map((r, i) => {
      const rect = document.createElementNS('http://www.w3.org/2000/svg', 'rect')
      const h = Math.min(Math.max(1, (r / top) * height), height)
      rect.setAttribute('x', (beats - rates.length + i) * width)
      rect.setAttribute('y', (height - h).toFixed(1))
      rect.setAttribute('width', width - 1)
      rect.setAttribute('height', h.toFixed(1))
      return rect
    }))
    spark.setAttribute('aria-label', 'Events per second over the last 90 seconds, at most ' + Math.round(most).toLocaleString('en'))
  }
  if (spark) rates = JSON.parse(spark.dataset.spark || '[]')

  const set = (name, text) => {
    const e = document.querySelector('[data-live="' + name + '"]')
    if (e && text) e.textContent = text
  }
  const beat = (event) => {
    const b = JSON.parse(event.data)
    set('links', b.links)
    set('actors', b.actors)
    set('lag', b.lag)
    set('rate', Math.round(b.rate).toLocaleString('en'))
    rates = [...rates, b.rate].slice(-90)
    if (spark) draw()
    if (b.new.length) document.querySelector('[data-empty]')?.remove()
    // Nothing moves while an element has the focus.
    if (ticker.contains(document.activeElement)) return
    for (const l of b.new) ticker.prepend(line(l))
    while (ticker.children.length > rows) ticker.lastElementChild.remove()
  }
  const start = () => {
    source = new EventSource('/pulse')
    source.onmessage = (event) => {
      lost.hidden = true
      beat(event)
    }
    source.onerror = () => { lost.hidden = false } // it reconnects by itself
  }
  const stop = () => {
    source?.close()
    source = null
  }
  let paused = false
  const follow = () => {
    if (paused || document.hidden) stop()
    else if (!source) start()
  }
  pause.hidden = false
  pause.addEventListener('click', () => {
    paused = !paused
    pause.setAttribute('aria-pressed', String(paused))
    pause.textContent = paused ? 'Resume' : 'Pause'
    follow()
  })
  document.addEventListener('visibilitychange', follow)
  follow()
}
