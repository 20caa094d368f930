"""Looks at a student's function and says what it sees; nothing imports it."""

from aigc_course.checks.autoencoder_and_contrastive_loss import check_contrast, check_draw_code, check_stay_near
from aigc_course.checks.cross_entropy import check_adamw_step, check_masked_loss, check_score_gradient
from aigc_course.checks.diffusion_loss import check_jump, check_noise_weight, check_posterior_mean
from aigc_course.checks.guidance_and_sampling import check_clean_end, check_ddim_step, check_heun_step
from aigc_course.checks.known_and_claimed import check_loss_gradient, check_reported_accuracy, check_sentence_surprise
from aigc_course.checks.picture_world import check_box, check_entropy, check_scene
from aigc_course.checks.words_to_picture import check_guidance, check_prompt, check_to_bytes

__all__ = [
    "check_adamw_step",
    "check_box",
    "check_clean_end",
    "check_contrast",
    "check_ddim_step",
    "check_draw_code",
    "check_entropy",
    "check_guidance",
    "check_heun_step",
    "check_jump",
    "check_loss_gradient",
    "check_masked_loss",
    "check_noise_weight",
    "check_posterior_mean",
    "check_prompt",
    "check_reported_accuracy",
    "check_scene",
    "check_score_gradient",
    "check_sentence_surprise",
    "check_stay_near",
    "check_to_bytes",
]
