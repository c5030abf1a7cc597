"""The one gate that every start, retry, rerun, replay and firing passes (design §12)."""
