"""Pictures of what was collected, with what is missing shaded in them."""
