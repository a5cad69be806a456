"""From rows to a trained model: prepare, batch, loss, optimizer step, trainer, checkpoint."""
