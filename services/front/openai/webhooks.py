"""A video's webhook, as its client may steer it."""

from __future__ import annotations

from fastapi import APIRouter

from services.front import described, refusals
from services.front.context import Shared
from services.front.openai.schemas import WebhookState
from services.front.openai.videos import VideoId

router = APIRouter(prefix="/v1/videos", tags=["videos"])


@router.post(
    "/{video_id}/webhook",
    summary="Send its latest webhook message once more",
    responses=described.errors(404, 409),
)
async def send_again(video_id: VideoId, context: Shared) -> WebhookState:
    if await context.ask(lambda queue: queue.get(video_id)) is None:
        raise refusals.no_video(video_id)
    state = await context.ask(lambda queue: queue.deliveries.again(video_id))
    if state is None:
        raise refusals.no_webhook(video_id)
    context.webhooks.expect()
    return WebhookState(**state)
