"""Paint a video as one film: optical flow carries the painting from frame to frame."""
