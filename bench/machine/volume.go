package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// volume is a file system in a file.
type volume struct {
	path   string // where it is mounted
	loop   string // its device file
	device string // MAJOR:MINOR
}

// newVolume makes and mounts a volume of size GB in a directory. The file takes only the space that is written.
func newVolume(ctx context.Context, dir string, size int) (*volume, error) {
	file := filepath.Join(dir, "volume")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(file, int64(size)*1e9); err != nil {
		return nil, err
	}
	if _, err := command(ctx, "mkfs.ext4", "-q", "-E", "lazy_itable_init=1", file); err != nil {
		return nil, err
	}
	loop, err := command(ctx, "losetup", "--find", "--show", file)
	if err != nil {
		return nil, err
	}
	v := &volume{path: filepath.Join(dir, "mount"), loop: loop}
	v.device, err = command(ctx, "lsblk", "--noheadings", "--nodeps", "--output", "MAJ:MIN", loop)
	if err == nil {
		err = os.Mkdir(v.path, 0o755)
	}
	if err == nil {
		_, err = command(ctx, "mount", loop, v.path)
	}
	if err != nil {
		return nil, errors.Join(err, v.close())
	}
	return v, nil
}

// close unmounts the volume, if it is mounted, and frees its device.
func (v *volume) close() error {
	_, _ = command(context.Background(), "umount", v.path)
	_, err := command(context.Background(), "losetup", "--detach", v.loop)
	return err
}

// command runs a program and returns what it prints, without spaces around it.
func command(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}
