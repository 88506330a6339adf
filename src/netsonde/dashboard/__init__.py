"""Static pages that an agent serves; their scripts call `/v1` and nothing else.

Imports nothing of ours. No page loads anything from another host: what measures a network must be
readable where that network is all there is. Test: `tests/unit/agent/test_agent_http_document.py`.
"""
