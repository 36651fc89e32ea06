package export

// HeldBytes is how much of frames an export holds.
func (e *Export) HeldBytes() int { return len(e.bodies.frames) }
