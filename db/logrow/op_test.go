package logrow

import "testing"

// TestStatusNames: each status has a name of its own, which is parsed to it.
func TestStatusNames(t *testing.T) {
	t.Parallel()
	for s := StatusActive; s <= StatusInactive; s++ {
		if got, ok := ParseStatus(s.String()); !ok || got != s {
			t.Errorf("%d is named %q, which is %d, %v", s, s, got, ok)
		}
	}
	if s, ok := ParseStatus("throttled"); ok {
		t.Errorf("an unknown name is %q", s)
	}
	if got := Status(200).String(); got != "inactive" {
		t.Errorf("an unknown status is named %q", got)
	}
}
