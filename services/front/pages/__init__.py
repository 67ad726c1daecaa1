"""The pages that need no studio: boot page and sign-in page, one document each."""
