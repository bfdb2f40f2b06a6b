# SPDX-License-Identifier: ISC
"""A web server on loopback whose pages a test changes as it goes.

    web = Web()
    port = web.serve()
    web.pages["ca.test", "/list.crl"] = octets      # or a status,
    web.pages["ca.test", "/old"] = (302, "http://ca.test/list.crl")
    web.pages["ca.test", "/held"] = function    # that returns one of these
    web.seen                                        # [(host, path), ...]
"""

import http.server
import threading


class Web:
    def __init__(self):
        self.pages = {}
        self.seen = []

    def count(self, host, path):
        return self.seen.count((host, path))

    def serve(self, context=None):
        """Starts one more server with the same pages; its port."""
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                web._answer(self)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            server.socket = context.wrap_socket(server.socket,
                                                server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]

    def _answer(self, request):
        host = request.headers["Host"].split(":")[0]
        self.seen.append((host, request.path))
        page = self.pages.get((host, request.path.split("?")[0]), 404)
        if callable(page):
            page = page()
        try:
            if isinstance(page, bytes):
                request.send_response(200)
                request.send_header("Content-Length", str(len(page)))
                request.end_headers()
                request.wfile.write(page)
                return
            code, location = (page if isinstance(page, tuple)
                              else (page, None))
            request.send_response(code)
            if location:
                request.send_header("Location", location)
            request.send_header("Content-Length", "0")
            request.end_headers()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it had enough
