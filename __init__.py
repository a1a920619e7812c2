"""viewstream: sharded images in, a stream of augmented views out, lean self-supervised trainers on top."""
