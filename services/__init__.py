"""The processes around the model: client, gateway, serving and recorder. Each stands alone; none imports another."""
