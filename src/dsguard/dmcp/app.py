"""The application: a platform, its routes, and the gate before them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from dsguard.dmcp import dataset_pages, errors, pages, releases, routes, schemas, streams, webhooks
from dsguard.dmcp.middleware import Gate
from dsguard.dmcp.settings import Settings
from dsguard.dmcp.state import Platform


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service; settings are those of the environment by default."""
    platform = Platform(settings or Settings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        platform.jobs.start()
        yield
        await run_in_threadpool(platform.jobs.stop)
        await run_in_threadpool(platform.workers.stop)
        platform.engine.dispose()

    app = FastAPI(
        title="dsguard DMCP",
        description="Keeps the keys of protected image datasets, for who may restore them.",
        lifespan=lifespan,
        docs_url=None,  # they would load scripts from elsewhere; `pages` has a page of its own
        redoc_url=None,
        responses={status: {"model": schemas.Problem} for status in errors.STATUSES},
    )
    app.state.platform = platform
    app.add_middleware(Gate, platform=platform)
    errors.add_handlers(app)
    for part in (routes, webhooks, releases, streams, pages, dataset_pages):
        app.include_router(part.router)
    return app
