"""Where finished clips and the news of them go, and how long they stay."""
