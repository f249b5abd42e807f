// The verifier's entry.

import '../styles.css';
import { mount } from 'svelte';
import Verify from './Verify.svelte';

const target = document.getElementById('page');
if (!target) throw new Error('verify.html has no element #page to put the page into');

mount(Verify, { target });
