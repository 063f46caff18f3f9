"""People filmed by several cameras, with joints instead of a body: our format, and published layouts of such films."""
