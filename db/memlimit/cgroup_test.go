package memlimit

import (
	"math"
	"testing"
	"testing/fstest"
)

// TestCgroupMemory: the least limit of the process's groups applies, in both versions, in containers and under systemd.
func TestCgroupMemory(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"no control groups", nil, math.MaxInt64},
		{"version 2, a container", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n"},
			512 << 20},
		{"version 2, no limit", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"},
			math.MaxInt64},
		{"version 2, a service of systemd", map[string]string{"proc/self/cgroup": "0::/system.slice/weft.service\n",
			"sys/fs/cgroup/system.slice/weft.service/memory.max": "1000\n", "sys/fs/cgroup/system.slice/memory.max": "max\n"},
			1000},
		{"version 2, a parent has the least", map[string]string{"proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "3000\n", "sys/fs/cgroup/a/memory.max": "2000\n",
			"sys/fs/cgroup/memory.max": "9000\n"}, 2000},
		{"version 2, without /proc", map[string]string{"sys/fs/cgroup/memory.max": "4096\n"}, 4096},
		{"version 1", map[string]string{"proc/self/cgroup": "9:cpu,cpuacct:/x\n5:memory:/docker/abc\n0::/\n",
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "2048\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":            "9223372036854771712\n",
			"sys/fs/cgroup/cpu/x/memory.limit_in_bytes":             "1\n"}, 2048},
		{"version 1, in a container that sees the path of the host",
			map[string]string{"proc/self/cgroup": "5:memory:/docker/abc\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes": "8192\n"}, 8192},
		{"a path above the root", map[string]string{"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/memory.max": "7\n"},
			7},
		{"nonsense", map[string]string{"proc/self/cgroup": "\n:\nx\n0\n", "sys/fs/cgroup/memory.max": "-5\n"}, math.MaxInt64},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root := fstest.MapFS{}
			for name, text := range tc.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := cgroupMemory(root); got != tc.want {
				t.Errorf("%d bytes, want %d", got, tc.want)
			}
		})
	}
}

func TestMemTotal(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"MemTotal:        1024 kB\nMemFree: 1 kB\n": 1 << 20, "": 0,
		"MemTotal: many\n": 0} {
		if got := memTotal(text); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
	if Bytes() <= 0 {
		t.Errorf("the process may take %d bytes", Bytes())
	}
}
