"""The checkpoint's parts: every parameter has the name and the shape that it has in the files.

The UNet and the temporal decoder only hold parameters here; ``services.engines.svd.unet`` and ``decoder``
take these over and compute with them.
"""
