// Shows the events of a stream on the page of its method.
'use strict'

const form = document.querySelector('form[data-stream]')
if (form) {
  const button = form.querySelector('[data-listen]')
  const heard = document.querySelector('[data-heard]')
  const rows = 50
  let stop = null

  const say = (text) => {
    const line = document.createElement('span')
    line.textContent = text + '\n'
    heard.prepend(line)
    while (heard.children.length > rows) heard.lastElementChild.remove()
  }
  // The fields of the form, without empty ones, with one value for each line.
  const address = () => {
    const query = new URLSearchParams()
    for (const [name, value] of new FormData(form)) {
      for (const v of value.split('\n')) if (v.trim()) query.append(name, v.trim())
    }
    return form.dataset.path + '?' + query
  }
  const end = (why) => {
    stop?.()
    stop = null
    if (why) say(why)
    button.textContent = 'Listen'
    button.setAttribute('aria-pressed', 'false')
  }
  // An EventSource or WebSocket has no text of a refusal, so fetch reads it.
  const refused = async () => {
    if (!stop) return
    const res = await fetch(address(), { headers: { Accept: 'application/json' } }).catch(() => null)
    const body = res && !res.ok && res.status !== 426 ? await res.json().catch(() => null) : null
    res?.body?.cancel().catch(() => {})
    end(body?.message ?? 'The connection is closed.')
  }
  const begin = () => {
    heard.hidden = false
    heard.replaceChildren()
    button.textContent = 'Stop'
    button.setAttribute('aria-pressed', 'true')
    if (form.dataset.stream === 'websocket') {
      const socket = new WebSocket(location.origin.replace(/^http/, 'ws') + address())
      stop = () => socket.close()
      socket.onopen = () => say('Connected. Links appear here when they arrive.')
      socket.onmessage = (e) => say(e.data)
      socket.onclose = (e) => { if (stop) end(e.reason || 'The connection is closed.') }
      return
    }
    const source = new EventSource(address())
    stop = () => source.close()
    source.onopen = () => say('Connected. Records appear here when they arrive.')
    for (const kind of ['record', 'account', 'end']) source.addEventListener(kind, (e) => say(e.data))
    source.onerror = () => { source.close(); refused() }
  }
  button.hidden = false
  button.addEventListener('click', () => { if (stop) end(); else begin() })
}
