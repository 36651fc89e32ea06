package handles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"weft.dev/weft/link"
)

// plc is the directory of did:plc.
const plc = "https://plc.directory"

const (
	// maxDocument and maxLine limit answers, in bytes. A DID document is about one kilobyte, and the answer of a
	// handle's domain is one line.
	maxDocument, maxLine = 64 << 10, 4 << 10
	// waitDNS is the time that only DNS is queried. DNS is faster, and an answer spares the HTTPS request.
	waitDNS = 1500 * time.Millisecond
)

// network is the public directory, as in https://atproto.com/specs/handle and /did.
type network struct {
	txt       func(ctx context.Context, name string) ([]string, error)
	strangers *http.Client // for hosts that strangers choose
	known     *http.Client // for the directory
	plc       string
	domains   *domains
}

func newNetwork() *network {
	dialer := &net.Dialer{Timeout: 3 * time.Second, Control: publicOnly}
	return &network{
		txt: net.DefaultResolver.LookupTXT,
		plc: plc, domains: newDomains(time.Now),
		strangers: &http.Client{
			// No proxy: it would connect instead of weft, without the check of addresses.
			Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 3 * time.Second,
				MaxIdleConns: 20, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
			CheckRedirect: follow,
		},
		known: &http.Client{},
	}
}

// follow allows a few redirects to other https addresses.
func follow(r *http.Request, before []*http.Request) error {
	if len(before) > 3 || r.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	return nil
}

// reserved are address ranges that are neither private nor on the internet: of carriers, of protocols and of tests.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	// IPv6 addresses that contain IPv4 addresses, which a gateway may translate: compatible ones, both NAT64 prefixes,
	// 6to4, Teredo.
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("100::/64"), // formerly private, and the discard prefix
}

// publicOnly refuses connections to addresses that aren't on the internet. It checks the address after name resolution.
func publicOnly(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("handles: %q is not an address: %w", address, err)
	}
	ip := at.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return fmt.Errorf("handles: %s is not on the internet", ip)
	}
	for _, p := range reserved {
		if p.Contains(ip) {
			return fmt.Errorf("handles: %s is not on the internet", ip)
		}
	}
	return nil
}

// DID returns the account of a handle, if the account names the handle too.
func (n *network) DID(ctx context.Context, handle string) (string, error) {
	did, err := n.claimed(ctx, handle)
	if err != nil {
		return "", err
	}
	says, err := n.alias(ctx, did)
	if err == nil && says != handle {
		err = fmt.Errorf("handles: %s names %s, which names %q", handle, did, says)
	}
	return did, err
}

// Handle returns the handle of an account; empty: none, or its domain names another account.
func (n *network) Handle(ctx context.Context, did string) (string, error) {
	handle, err := n.alias(ctx, did)
	if handle == "" || err != nil {
		return "", err
	}
	switch of, err := n.claimed(ctx, handle); {
	case errors.Is(err, ErrAway), errors.Is(err, errSilent):
		return "", err
	case err != nil, of != did:
		return "", nil
	}
	return handle, nil
}

// claimed returns the account that a handle's domain names.
func (n *network) claimed(ctx context.Context, handle string) (string, error) {
	asking, cancel := context.WithTimeout(ctx, waitDNS)
	records, dns := n.txt(asking, "_atproto."+handle)
	cancel()
	var found []string
	for _, r := range records {
		if did, ok := strings.CutPrefix(r, "did="); ok {
			found = append(found, did)
		}
	}
	if len(found) > 1 {
		return "", fmt.Errorf("handles: DNS has %d accounts for %s", len(found), handle)
	}
	if len(found) == 1 {
		return checkDID(handle, found[0])
	}
	var broken *net.DNSError
	if errors.As(dns, &broken) && resolverIsAway(broken) {
		return "", fmt.Errorf("%w: %w", ErrAway, dns)
	}
	line, err := n.stranger(ctx, handle, "/.well-known/atproto-did", maxLine)
	if err == nil {
		return checkDID(handle, strings.TrimSpace(string(line)))
	}
	var missing *net.DNSError
	if ctx.Err() != nil || errors.Is(err, errBusy) || dns != nil && !(errors.As(dns, &missing) && missing.IsNotFound) {
		return "", fmt.Errorf("%w: %w", errSilent, err)
	}
	// DNS works but has no record, and the failure of the domain's web server isn't a failure of the network.
	return "", err
}

// errSilent is returned if a stranger's domain doesn't answer. It isn't a failure of a common service, because
// strangers choose the domain.
var errSilent = errors.New("handles: the domain does not answer")

// resolverIsAway reports whether the DNS resolver itself is unreachable. A failing name server of a stranger's domain
// gives a time-out or a failure of the resolver, but isn't that.
func resolverIsAway(err *net.DNSError) bool {
	var refused syscall.Errno
	return errors.As(err, &refused) || strings.Contains(err.Err, "connection refused") || strings.Contains(err.Err,
		"network is unreachable")
}

// stranger queries a host that a stranger chose, if its domain has requests left.
func (n *network) stranger(ctx context.Context, host, path string, most int64) ([]byte, error) {
	done, err := n.domains.enter(ctx, host)
	if err != nil {
		return nil, err
	}
	defer done()
	return get(ctx, n.strangers, "https://"+host+path, most)
}

func checkDID(handle, did string) (string, error) {
	if !link.ValidDID(did) {
		return "", fmt.Errorf("handles: %s names %.100q, which is not a DID", handle, did)
	}
	return did, nil
}

// alias returns the handle that an account names; empty: none.
func (n *network) alias(ctx context.Context, did string) (string, error) {
	body, err := n.document(ctx, did)
	if err != nil {
		return "", err
	}
	return aliasIn(body, did)
}

// document returns the DID document of an account.
func (n *network) document(ctx context.Context, did string) (body []byte, err error) {
	if host, ok := strings.CutPrefix(did, "did:web:"); ok {
		if !link.ValidHandle(strings.ToLower(host)) { // atproto allows neither paths nor ports in a did:web
			return nil, fmt.Errorf("handles: %s has no host name", did)
		}
		body, err = n.stranger(ctx, strings.ToLower(host), "/.well-known/did.json", maxDocument)
	} else if strings.HasPrefix(did, "did:plc:") {
		body, err = get(ctx, n.known, n.plc+"/"+url.PathEscape(did), maxDocument)
		if err != nil && !errors.Is(err, errRefused) {
			err = fmt.Errorf("%w: %w", ErrAway, err)
		}
	} else {
		err = fmt.Errorf("handles: no directory resolves %s", did)
	}
	return body, err
}

// aliasIn returns the handle in the document of an account; empty: none.
func aliasIn(body []byte, did string) (string, error) {
	var doc struct {
		ID    string   `json:"id"`
		Known []string `json:"alsoKnownAs"`
	}
	if err := json.Unmarshal(body, &doc); err != nil || doc.ID != did {
		return "", fmt.Errorf("handles: the document of %s has another id", did)
	}
	for _, name := range doc.Known {
		if handle, ok := strings.CutPrefix(name, "at://"); ok {
			handle = strings.ToLower(handle)
			if link.ValidHandle(handle) {
				return handle, nil
			}
		}
	}
	return "", nil
}

// errRefused is returned if an answer denies that the account exists.
var errRefused = errors.New("handles: refused")

func get(ctx context.Context, client *http.Client, address string, most int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "weft")
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusTooManyRequests, answer.StatusCode >= http.StatusInternalServerError:
		return nil, fmt.Errorf("handles: %s answers %s", address, answer.Status)
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: %s answers %s", errRefused, address, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, most))
}
