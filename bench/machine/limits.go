package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	// memoryBytes is the memory of fly.io's shared-cpu-1x as fly.toml asks for it.
	memoryBytes = 1 << 30
	// volumeRate is the transfer rate of a volume of shared-cpu-1x in bytes a second, each way: docs/fly.md.
	volumeRate = 16 << 20
	// core is the number of the only core.
	core = "1"
)

// limits are the control groups of the emulated machine: of version 1 one for each resource, of version 2 one in all.
type limits struct {
	groups []string // directories
	memory string   // the one that counts memory
	v2     bool
}

// newLimits makes the control groups. device is MAJOR:MINOR of the volume.
func newLimits(device string) (*limits, error) {
	const root = "/sys/fs/cgroup"
	name := fmt.Sprintf("weft-machine-%d", os.Getpid())
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		l := &limits{groups: []string{filepath.Join(root, name)}, memory: filepath.Join(root, name), v2: true}
		return l, l.make(map[string]map[string]string{"": {
			"cpuset.cpus": core, "memory.max": fmt.Sprint(memoryBytes), "memory.swap.max": "0",
			"io.max": fmt.Sprintf("%s rbps=%d wbps=%d", device, volumeRate, volumeRate),
		}})
	}
	l := &limits{memory: filepath.Join(root, "memory", name)}
	for _, kind := range []string{"cpuset", "memory", "blkio"} {
		l.groups = append(l.groups, filepath.Join(root, kind, name))
	}
	rate := fmt.Sprintf("%s %d", device, volumeRate)
	return l, l.make(map[string]map[string]string{
		"cpuset": {"cpuset.cpus": core, "cpuset.mems": "0"},
		"memory": {"memory.limit_in_bytes": fmt.Sprint(memoryBytes)},
		"blkio":  {"blkio.throttle.read_bps_device": rate, "blkio.throttle.write_bps_device": rate},
	})
}

// make makes the directories and writes their settings, by kind.
func (l *limits) make(settings map[string]map[string]string) error {
	for _, dir := range l.groups {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return errors.Join(fmt.Errorf("a control group: %w", err), l.remove())
		}
		kind := filepath.Base(filepath.Dir(dir))
		if l.v2 {
			kind = ""
		}
		for file, value := range settings[kind] {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644); err != nil {
				return errors.Join(fmt.Errorf("a limit: %w", err), l.remove())
			}
		}
	}
	return nil
}

// enter returns a shell command that moves its shell into the groups.
func (l *limits) enter() string {
	var commands []string
	for _, dir := range l.groups {
		commands = append(commands, fmt.Sprintf("echo $$ > %s/cgroup.procs", dir))
	}
	return strings.Join(commands, " && ")
}

// mostMemory returns the largest memory of the group so far, with its page cache, in bytes.
func (l *limits) mostMemory() int64 {
	file := "memory.max_usage_in_bytes"
	if l.v2 {
		file = "memory.peak"
	}
	var n int64
	text, err := os.ReadFile(filepath.Join(l.memory, file))
	if err == nil {
		_, _ = fmt.Sscan(string(text), &n)
	}
	return n
}

// remove removes the groups, which have no process any more.
func (l *limits) remove() error {
	var all error
	for _, dir := range l.groups {
		err := os.Remove(dir)
		if err != nil && !os.IsNotExist(err) {
			all = errors.Join(all, err)
		}
	}
	return all
}
