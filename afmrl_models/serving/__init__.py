"""What a night hands over, to people and programs: search, a page, a JSON API."""
