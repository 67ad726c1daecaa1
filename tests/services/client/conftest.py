from tests.services.front.conftest import bare, clip, photo, svd, wan

__all__ = ["bare", "clip", "photo", "svd", "wan"]
