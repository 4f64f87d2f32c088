"""Programs that run, prove and measure Falcon. No operator applies them, and no wheel contains them."""
