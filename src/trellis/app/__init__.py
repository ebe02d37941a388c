"""Public modules for apps, and what runs on workers on behalf of apps. Imports nothing by itself."""
