package budget

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Client is on whose behalf something is taken.
type Client struct {
	Host string // an IPv4 address, or the /64 of an IPv6 address, which one subscriber has
	Net  string // the /48 of an IPv6 address, which one can rent; else the same as Host
}

// Wide is the share of a network, in shares of a host: a /48 has 65,536 hosts, some of them of other people.
const Wide = 8

// Clients identifies clients by host and network.
type Clients struct {
	// Header is the one in which a proxy in front names its client; of a list, the last entry counts, which the proxy
	// itself has added. "": the other end of the connection counts, as anybody can write a header.
	Header string
}

// Of is the client of a request.
func (c Clients) Of(r *http.Request) Client {
	text := r.RemoteAddr
	if c.Header != "" {
		if fields := r.Header.Values(c.Header); len(fields) > 0 {
			last := fields[len(fields)-1]
			text = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
		}
	}
	return ClientOf(text)
}

// ClientOf is the client at an address, with or without a port. What is no address is a client by itself, of 64 bytes
// at most.
func ClientOf(address string) Client {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	ip, err := netip.ParseAddr(strings.Trim(address, "[]"))
	if err != nil {
		// Bounded, as it is kept.
		address = "?" + strings.Clone(address[:min(len(address), 64)])
		return Client{address, address}
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		text := ip.String()
		return Client{text, text}
	}
	host, _ := ip.Prefix(64)
	wide, _ := ip.Prefix(48)
	return Client{host.String(), wide.String()}
}
