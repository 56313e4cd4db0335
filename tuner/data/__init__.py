"""From folders on disk to what training sees: pictures, captions, and what is refused."""
